/* A libnvidia-ml.so.1 without a GPU: answers from the file that NVML_STUB_STATE names, read anew at each call.
 *
 * A line is "KEY VALUE". Keys of device N begin with "N."; "N.CALL.fault CODE" makes a call on it fail with an NVML error code,
 * "CALL.fault CODE" one without a device, "N.CALL.sleep_ms M" makes it slow. A key that is missing is NVML_ERROR_NOT_SUPPORTED.
 * MIG devices of device N are "N.mig0", "N.mig1", ...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT = 7, TIMEOUT = 10 };

typedef struct { char id[32]; } device_t;                  /* "0" or "0.mig1" */
static device_t devices[64];
static int devices_used, initialized;

static int look(const char *key, char *out, size_t size) {
    const char *path = getenv("NVML_STUB_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    int found = 0;
    while (file && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (!strncmp(line, key, length) && line[length] == ' ') {
            snprintf(out, size, "%s", line + length + 1);
            out[strcspn(out, "\n")] = 0;
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int number(const char *prefix, const char *key, unsigned long long *out) {
    char full[128], text[256];
    snprintf(full, sizeof full, "%s%s%s", prefix, *prefix ? "." : "", key);
    if (!look(full, text, sizeof text)) return NOT_SUPPORTED;
    *out = strtoull(text, NULL, 0);
    return OK;
}

static int text(const char *prefix, const char *key, char *out, unsigned size) {
    char full[128];
    snprintf(full, sizeof full, "%s%s%s", prefix, *prefix ? "." : "", key);
    return look(full, out, size) ? OK : NOT_SUPPORTED;
}

/* What a call on `prefix` must fail with, or OK; sleeps if it is told to. */
static int fault(const char *prefix, const char *call) {
    char key[128];
    unsigned long long code = OK, ms = 0;
    snprintf(key, sizeof key, "%s.sleep_ms", call);
    if (number(prefix, key, &ms) == OK) {
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (!initialized && strcmp(call, "nvmlInitWithFlags")) return UNINITIALIZED;
    snprintf(key, sizeof key, "%s.fault", call);
    number(prefix, key, &code);
    return (int)code;
}

static device_t *named(const char *key) {
    for (int i = 0; i < devices_used; i++) if (!strcmp(devices[i].id, key)) return &devices[i];
    if (devices_used == 64) abort();
    snprintf(devices[devices_used].id, sizeof devices[0].id, "%s", key);
    return &devices[devices_used++];
}

#define ENTER(device) do { int code = fault((device)->id, __func__); if (code) return code; } while (0)
#define ONE(name, key, type)                                                   \
    int name(device_t *device, type *out) {                                    \
        unsigned long long value;                                              \
        ENTER(device);                                                         \
        int code = number(device->id, key, &value);                           \
        if (!code) *out = (type)value;                                         \
        return code;                                                           \
    }
#define TEXT(name, key) \
    int name(device_t *device, char *out, unsigned size) { ENTER(device); return text(device->id, key, out, size); }

int nvmlInitWithFlags(unsigned flags) { (void)flags; int code = fault("", __func__); if (!code) initialized = 1; return code; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { initialized = 0; return OK; }
const char *nvmlErrorString(int code) { static char said[32]; snprintf(said, sizeof said, "stub error %d", code); return said; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text("", "driver", out, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    unsigned long long value; int code = number("", "cuda", &value); if (!code) *out = (int)value; return code;
}
int nvmlDeviceGetCount_v2(unsigned *out) {
    unsigned long long value; int code = fault("", __func__);
    if (code) return code;
    code = number("", "devices", &value); if (!code) *out = (unsigned)value; return code;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t **out) {
    char key[16]; snprintf(key, sizeof key, "%u", index); *out = named(key); return fault(key, __func__);
}
TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
ONE(nvmlDeviceGetMinorNumber, "minor", unsigned)
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;
int nvmlDeviceGetPciInfo_v3(device_t *device, pci_t *out) {
    ENTER(device); memset(out, 0, sizeof *out); return text(device->id, "bus_id", out->bus_id, sizeof out->bus_id);
}
typedef struct { unsigned gpu, memory; } utilization_t;
int nvmlDeviceGetUtilizationRates(device_t *device, utilization_t *out) {
    unsigned long long gpu, memory = 0; ENTER(device);
    int code = number(device->id, "utilization", &gpu); if (code) return code;
    number(device->id, "memory_utilization", &memory); out->gpu = gpu; out->memory = memory; return OK;
}
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory2_t;
int nvmlDeviceGetMemoryInfo(device_t *device, memory_t *out) {
    ENTER(device); int code = number(device->id, "memory_total", &out->total); if (code) return code;
    number(device->id, "memory_used", &out->used); out->free = out->total - out->used; return OK;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(device_t *device, memory2_t *out) {
    ENTER(device); int code = number(device->id, "memory_total", &out->total); if (code) return code;
    out->reserved = 0; number(device->id, "memory_reserved", &out->reserved);
    number(device->id, "memory_used", &out->used); out->free = out->total - out->used - out->reserved; return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(device_t *device, unsigned long long *out) {
    ENTER(device); return number(device->id, "clock_reasons", out);
}
#endif
int nvmlDeviceGetCurrentClocksThrottleReasons(device_t *device, unsigned long long *out) {
    ENTER(device); return number(device->id, "clock_reasons", out);
}
int nvmlDeviceGetTemperature(device_t *device, int sensor, unsigned *out) {
    unsigned long long value; (void)sensor; ENTER(device);
    int code = number(device->id, "temperature", &value); if (!code) *out = value; return code;
}
ONE(nvmlDeviceGetPowerUsage, "power_mw", unsigned)
ONE(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw", unsigned)
ONE(nvmlDeviceGetTotalEnergyConsumption, "energy_mj", unsigned long long)
ONE(nvmlDeviceGetPcieReplayCounter, "pcie_replays", unsigned)
ONE(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation", unsigned)
ONE(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width", unsigned)
int nvmlDeviceGetClockInfo(device_t *device, int kind, unsigned *out) {
    static const char *keys[] = {"clock_graphics", "clock_sm", "clock_memory", "clock_video"};
    unsigned long long value; ENTER(device);
    int code = kind < 4 ? number(device->id, keys[kind], &value) : INVALID; if (!code) *out = value; return code;
}
int nvmlDeviceGetPcieThroughput(device_t *device, int counter, unsigned *out) {
    unsigned long long value; ENTER(device);
    int code = number(device->id, counter ? "pcie_receive_kb" : "pcie_transmit_kb", &value); if (!code) *out = value; return code;
}
static int period(device_t *device, const char *key, unsigned *out, unsigned *period_us) {
    unsigned long long value; int code = number(device->id, key, &value);
    if (!code) { *out = value; *period_us = 20000; } return code;
}
int nvmlDeviceGetEncoderUtilization(device_t *device, unsigned *out, unsigned *us) { ENTER(device); return period(device, "encoder", out, us); }
int nvmlDeviceGetDecoderUtilization(device_t *device, unsigned *out, unsigned *us) { ENTER(device); return period(device, "decoder", out, us); }
int nvmlDeviceGetTotalEccErrors(device_t *device, int kind, int counter, unsigned long long *out) {
    char key[64]; ENTER(device);
    snprintf(key, sizeof key, "ecc_%s_%s", kind ? "uncorrected" : "corrected", counter ? "aggregate" : "volatile");
    return number(device->id, key, out);
}
int nvmlDeviceGetRemappedRows(device_t *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    unsigned long long value; ENTER(device);
    int code = number(device->id, "remapped_corrected", &value); if (code) return code; *corrected = value;
    value = 0; number(device->id, "remapped_uncorrected", &value); *uncorrected = value;
    value = 0; number(device->id, "remap_pending", &value); *pending = value;
    value = 0; number(device->id, "remap_failed", &value); *failed = value; return OK;
}
typedef struct { unsigned field, scope; long long timestamp, latency; int type, code; union { double d; unsigned u; unsigned long long l; } value; } field_t;
int nvmlDeviceGetFieldValues(device_t *device, int count, field_t *values) {
    ENTER(device);
    for (int i = 0; i < count; i++) {
        unsigned long long value = 0;
        values[i].code = values[i].field == 82 ? number(device->id, "memory_temperature", &value) : NOT_SUPPORTED;
        values[i].type = 1; values[i].value.u = (unsigned)value;
    }
    return OK;
}
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;
static int processes(device_t *device, const char *kind, unsigned *count, process_t *out) {
    unsigned long long there = 0; char key[64];
    snprintf(key, sizeof key, "%s", kind);
    if (number(device->id, key, &there) != OK) return NOT_SUPPORTED;
    if (!there) { *count = 0; return OK; }
    if (!out || *count < there) { *count = (unsigned)there; return INSUFFICIENT; }
    for (unsigned i = 0; i < there; i++) {
        unsigned long long pid = 0, used = ~0ULL, instance = 0xFFFFFFFFULL;
        snprintf(key, sizeof key, "%s.%u.pid", kind, i); number(device->id, key, &pid);
        snprintf(key, sizeof key, "%s.%u.used", kind, i); number(device->id, key, &used);
        snprintf(key, sizeof key, "%s.%u.gpu_instance", kind, i); number(device->id, key, &instance);
        out[i] = (process_t){(unsigned)pid, used, (unsigned)instance, 0xFFFFFFFFU};
    }
    *count = (unsigned)there; return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned *count, process_t *out) { ENTER(device); return processes(device, "compute", count, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t *device, unsigned *count, process_t *out) { ENTER(device); return processes(device, "graphics", count, out); }
int nvmlDeviceGetMigMode(device_t *device, unsigned *current, unsigned *pending) {
    unsigned long long value; ENTER(device);
    int code = number(device->id, "mig_mode", &value); if (!code) *current = *pending = value; return code;
}
int nvmlDeviceGetMaxMigDeviceCount(device_t *device, unsigned *out) { ENTER(device); *out = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(device_t *device, unsigned index, device_t **out) {
    char key[32], name[64]; ENTER(device);
    snprintf(key, sizeof key, "%.8s.mig%u", device->id, index);
    if (text(key, "uuid", name, sizeof name) != OK) return NOT_FOUND;
    *out = named(key); return OK;
}
ONE(nvmlDeviceGetGpuInstanceId, "gpu_instance", unsigned)
ONE(nvmlDeviceGetComputeInstanceId, "compute_instance", unsigned)

/* Events: "xid.COUNTER DEVICE CODE" lines; each wait gives the next one that was not given yet. */
int xids_given;
typedef struct { device_t *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event_t;
int nvmlEventSetCreate(void **out) { *out = &xids_given; return fault("", __func__); }
int nvmlEventSetFree(void *set) { (void)set; return OK; }
int nvmlDeviceRegisterEvents(device_t *device, unsigned long long types, void *set) { (void)types; (void)set; ENTER(device); return OK; }
int nvmlEventSetWait_v2(void *set, event_t *out, unsigned timeout_ms) {
    char key[32], line[64], device[16]; unsigned long long code; (void)set;
    snprintf(key, sizeof key, "xid.%d", xids_given);
    if (!look(key, line, sizeof line) || sscanf(line, "%15s %llu", device, &code) != 2) {
        struct timespec pause = {0, (timeout_ms > 20 ? 20 : timeout_ms) * 1000000L};
        nanosleep(&pause, NULL);
        return TIMEOUT;
    }
    xids_given++;
    *out = (event_t){named(device), 8, code, 0xFFFFFFFFU, 0xFFFFFFFFU};
    return OK;
}
