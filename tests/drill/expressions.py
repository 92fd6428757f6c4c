"""Made-up series of what the expressions of the shipped rules give, a point each 15 s, for fifteen days.

Each maker draws what a process would count (requests, buckets, pauses, messages) and puts it through the rule's own
arithmetic: windows of `rate`, quantiles of buckets, least traffic. So points have the noise, the steps, the gaps and
the zeros of the real thing. Beside noise there is life: day and week, slow weather, deploys, restarts, nightly work,
bursts. What should wake nobody is in there; what should comes as an `Effect`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from observe.demo.signals import _ITL, _LATENCY, _TTFT
from tests.drill.lives import DAY, MINUTE, START_S, STEP_S, WARM_UP, Around, Effect, Life

Maker = Callable[[Around], np.ndarray]


def windowed(counts, minutes):
    """What `rate` over so many minutes sees, as a sum: one interval less than the window, as its samples are."""
    points = max(1, minutes * MINUTE - 1)
    total = np.cumsum(np.concatenate([np.zeros((1, *counts.shape[1:])), counts]), axis=0)
    first = np.maximum(np.arange(1, len(counts) + 1) - points, 0)
    return total[1:] - total[first]


def quantile(counts, bounds, q=0.95):
    """`histogram_quantile` of counts [T, buckets], the last one above all bounds."""
    upto = np.cumsum(counts, axis=1)
    total = upto[:, -1]
    wanted = q * total
    at = np.minimum((upto < wanted[:, None]).sum(axis=1), len(bounds))
    edges = np.r_[0.0, bounds, bounds[-1]]
    rows = np.arange(len(counts))
    below = np.where(at > 0, upto[rows, at - 1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(counts[rows, at] > 0, (wanted - below) / counts[rows, at], 0.0)
        return np.where(total > 0, edges[at] + (edges[at + 1] - edges[at]) * part, np.nan)


def _normal_below(z):
    """Share of a normal distribution below z (the logistic approximation of Page, to 0.0002)."""
    return 1.0 / (1.0 + np.exp(-np.clip(1.5976 * z + 0.070566 * z**3, -60, 60)))


def durations(rng, requests, median, sigma, bounds, tail=0.02, tail_times=4.0):
    """Requests in buckets, [T, buckets]: lognormal, a few several times as long."""
    logs = np.log(np.asarray(bounds))[None, :]
    centre = np.log(median)[:, None]
    below = (1 - tail) * _normal_below((logs - centre) / sigma)
    below += tail * _normal_below((logs - centre - np.log(tail_times)) / sigma)
    shares = np.diff(np.concatenate([np.zeros((len(centre), 1)), below, np.ones((len(centre), 1))], axis=1), axis=1)
    return rng.poisson(requests[:, None] * np.maximum(shares, 0.0)).astype(float)


def rates(counts, minutes):
    """A second, as `rate` says it."""
    return windowed(counts, minutes) / (max(1, minutes * MINUTE - 1) * STEP_S)


# Latencies -----------------------------------------------------------------------------------------------------------

def latency(night, peak, median, sigma, coupled=0.2, tail=0.02):
    """p95 of a minute; slower by `coupled` at the peak, for two minutes after a deploy a quarter of it by 60 %."""
    def make(a):
        life = a.life
        requests = a.requests(night, peak)
        centre = median * a.cut((1 + coupled * life.shape) * np.exp(0.05 * life.fast_weather)) * a.effect.slow
        centre = centre * (1 + 0.15 * a.cut(life.after(life.deploy, 2 * MINUTE)))
        counts = durations(a.rng, requests, centre, sigma, _LATENCY, tail)
        return np.where(rates(counts.sum(axis=1), 1) > 2, quantile(windowed(counts, 1), _LATENCY), np.nan)
    return make


def latency_of_few(night, peak, median, sigma):
    """p95 of five minutes, where two requests a second at most come."""
    def make(a):
        centre = median * np.exp(0.05 * a.cut(a.life.fast_weather)) * a.effect.slow
        counts = durations(a.rng, a.requests(night, peak, 0.2), centre, sigma, _LATENCY)
        of_all = counts.sum(axis=1)
        kept = (rates(of_all, 1) <= 2) & (rates(of_all, 5) > 0.1)
        return np.where(kept, quantile(windowed(counts, 5), _LATENCY), np.nan)
    return make


def tokens(bounds, night, peak, median, sigma, coupled, least=0.0):
    """p95 of two minutes of a model server: time to first token, or between tokens; NaN below `least` a second."""
    def make(a):
        life = a.life
        centre = median * a.cut((1 + coupled * life.shape) * np.exp(0.07 * life.fast_weather)) * a.effect.slow
        counts = durations(a.rng, a.requests(night, peak), centre, sigma, bounds, 0.03, 5.0)
        enough = rates(counts.sum(axis=1), 2) > least
        return np.where(enough, quantile(windowed(counts, 2), bounds), np.nan)
    return make


# Shares --------------------------------------------------------------------------------------------------------------

def share_of(minutes, night, peak, usual, least=0.0, most=1e9, blip=0.04, blips_a_day=1.5):
    """Share of requests that fail; `blip` more for half a minute now and then; NaN outside of least..most a second."""
    def make(a):
        requests = a.rng.poisson(a.requests(night, peak)).astype(float)
        odd = a.cut(a.life.now_and_then(blips_a_day, 1, 3)) * blip
        share = np.clip(usual * np.exp(0.4 * a.cut(a.life.slow_weather)) + odd + a.effect.fail, 0, 1)
        failed = a.rng.binomial(requests.astype(np.int64), share).astype(float)
        rate = rates(requests, minutes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((rate > least) & (rate <= most), windowed(failed, minutes) / windowed(requests, minutes),
                            np.nan)
    return make


def cache_hits(night, peak, usual, swing=0.05):
    """Share of answers from the cache; after a deploy one of four caches is cold for twenty minutes."""
    def make(a):
        life = a.life
        asked = a.rng.poisson(a.requests(night, peak))
        since = a.cut(life.since_deploy(-10 * DAY))
        cold = 0.25 * np.clip(1 - since / (20 * MINUTE), 0, 1)
        share = (usual + swing * a.cut(life.shape) + 0.02 * a.cut(life.slow_weather)) * (1 - cold) * (1 - a.effect.fail)
        hits = a.rng.binomial(asked, np.clip(share, 0, 1)).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return windowed(hits, 1) / windowed(asked.astype(float), 1)
    return make


def queue_share(depth, peak_depth, bursts_a_day, capacity=64):
    """Share of the queue in use, mean of two samples; now and then full for up to half a minute."""
    def make(a):
        life = a.life
        mean = depth + (peak_depth - depth) * a.cut(life.shape**2 * np.exp(0.3 * life.fast_weather))
        at = a.rng.poisson(np.maximum(mean, 0)) + a.cut(life.now_and_then(bursts_a_day, 1, 2)) * 0.6 * capacity
        share = np.clip(at / capacity + a.effect.more, 0, 1)
        return windowed_mean(share, 2)
    return make


def windowed_mean(values, points):
    """Mean of the last so many points."""
    total = np.cumsum(np.r_[0.0, values])
    first = np.maximum(np.arange(1, len(values) + 1) - points, 0)
    return (total[1:] - total[first]) / (np.arange(1, len(values) + 1) - first)


# Rates ---------------------------------------------------------------------------------------------------------------

def traffic(night, peak, holiday=False):
    """Requests a second over two minutes; a holiday is a working day (the second Wednesday) that looks like Sunday."""
    def make(a):
        requests = a.requests(night, peak)
        if holiday:
            day = a.cut((a.life.second - START_S) // 86400)
            requests = requests * np.where(day == 7, 0.5, 1.0)
        return rates(a.rng.poisson(requests).astype(float), 2)
    return make


def pauses(minutes, a_second, pause_s, long_a_day, long_s, coupled):
    """Share of the time in garbage collection: many short pauses, now and then a long one."""
    def make(a):
        life = a.life
        often = a_second * a.cut((1 + coupled * life.shape) * np.exp(0.1 * life.slow_weather)) * STEP_S
        short = a.rng.gamma(np.maximum(a.rng.poisson(often), 1e-9), pause_s)
        long = a.cut(life.now_and_then(long_a_day, 1, 1)) * long_s * a.rng.uniform(0.5, 1.5, len(short))
        started = a.cut(life.after(life.deploy, 2 * MINUTE)) * 0.02 * STEP_S
        return rates(short + long + started + a.effect.more * STEP_S, minutes)
    return make


def collections(a_second, coupled):
    """Collections a second."""
    def make(a):
        life = a.life
        often = a_second * a.cut((1 + coupled * life.shape) * np.exp(0.15 * life.fast_weather)) * a.effect.slow
        return rates(a.rng.poisson(often * STEP_S).astype(float), 1)
    return make


def cpu(idle, busy, nightly, builds_a_day, noise=0.03):
    """Share of the CPUs in use; a nightly job, and builds of three to ten minutes."""
    def make(a):
        life = a.life
        usual = idle + (busy - idle) * a.cut(life.shape) + noise * a.cut(life.fast_weather)
        usual = np.maximum(usual, 0.01) + 0.015 * np.abs(a.rng.standard_normal(len(usual)))
        job = nightly * a.cut(life.every_night(3.0, 20 * MINUTE, 2 * MINUTE))
        build = 0.5 * a.cut(life.now_and_then(builds_a_day, 3 * MINUTE, 10 * MINUTE))
        taken = np.clip(usual + np.maximum(job, build), 0, 1)
        return windowed_mean(np.clip(taken + (1 - taken) * a.effect.fail, 0, 1), 7)
    return make


# Levels --------------------------------------------------------------------------------------------------------------

def memory(start_mb, full_mb, warm_minutes, growth_mb_a_day, requests_mb):
    """Resident bytes: caches fill after each start, it grows slowly till the next deploy, big requests come and go."""
    def make(a):
        life = a.life
        age = a.cut(life.since_deploy(WARM_UP - 2 * MINUTE)) / MINUTE
        size = start_mb + (full_mb - start_mb) * (1 - np.exp(-np.maximum(age, 0) / warm_minutes))
        size = size + growth_mb_a_day * age / 1440 + requests_mb * a.cut(life.shape * (1 + 0.5 * life.fast_weather))
        held = 1.5 * requests_mb * a.cut(life.now_and_then(3, 4, 20))
        size = (size + held) * a.effect.slow + 2 * a.rng.standard_normal(len(size))
        return windowed_mean(size * 2**20, 4)
    return make


def waiting(usual, peak, bursts_a_day):
    """Requests waiting, mean of a minute; bursts of up to a minute."""
    def make(a):
        life = a.life
        mean = usual + (peak - usual) * a.cut(life.shape**2 * np.exp(0.4 * life.fast_weather))
        burst = a.cut(life.now_and_then(bursts_a_day, 1, 4)) * a.rng.uniform(5, 25, len(mean))
        return windowed_mean(a.rng.poisson(np.maximum(mean, 0)) + burst + np.round(a.effect.more), 4)
    return make


def backlog(usual, hourly, nightly):
    """Messages ready: some, a batch each hour that is worked off in minutes, one each night."""
    def make(a):
        life = a.life
        size = a.rng.poisson(np.maximum(usual * a.cut(np.exp(0.4 * life.fast_weather) * (0.3 + life.shape)), 0))
        into_hour = a.cut(life.second) % 3600
        batch = hourly * np.clip(1 - into_hour / 300, 0, 1) * a.rng.uniform(0.9, 1.1, len(size))
        late = a.cut((life.hour - 2.0) % 24) * 3600
        night = nightly * np.clip(1 - late / 1500, 0, 1) * a.rng.uniform(0.98, 1.02, len(size))
        return np.round(size + batch + night + a.effect.more)
    return make


def oldest_age(usual, hourly, nightly):
    """Age of the oldest message in seconds: about nothing; minutes while a batch is worked off."""
    def make(a):
        life = a.life
        age = a.rng.exponential(usual, len(a.effect.more)) * (a.rng.random(len(a.effect.more)) < 0.5)
        into_hour = a.cut(life.second) % 3600
        batch = np.where(into_hour < hourly, into_hour, 0.0)
        late = a.cut((life.hour - 2.0) % 24) * 3600
        night = np.where(late < nightly, late, 0.0)
        return np.maximum(np.maximum(age, batch), night) + a.effect.more
    return make


@dataclass(frozen=True)
class Made:
    """The series of one rule's expression: each maker gives one kind of series, drawn with several seeds."""

    makers: tuple[Maker, ...]

    def values(self, first, last, effect=None, seeds=2, draw=0):
        """[T, series] of points first..last; `draw` makes another run of dice in the same lives."""
        effect = (effect or Effect.none(last - first)).warmed()
        columns = []
        for number, maker in enumerate(self.makers):
            for seed in range(seeds):
                life = _life((number, seed))
                rng = np.random.default_rng([number, seed, first, draw])
                part = slice(first, last + WARM_UP)  # lives begin a run-up before the first point
                columns.append(maker(Around(life, part, effect, rng))[WARM_UP:])
        return np.stack(columns, axis=1)


_LIVES: dict[tuple[int, int], Life] = {}


def _life(key):
    if key not in _LIVES:
        _LIVES[key] = Life(list(key))
    return _LIVES[key]


EXPRESSIONS = {
    "LatencyOutsideBand": Made((
        latency(30, 60, 0.12, 0.5), latency(3, 14, 0.6, 0.6, 0.5), latency(6, 8, 0.25, 1.0, 0.1, 0.04),
    )),
    "LatencyOutsideBandLowTraffic": Made((
        latency_of_few(0.5, 0.6, 0.15, 0.5), latency_of_few(0.15, 1.4, 0.6, 0.7), latency_of_few(0.03, 0.4, 0.4, 0.8),
    )),
    "ErrorShareOutsideBand": Made((
        share_of(1, 20, 50, 0.002, 0.5), share_of(1, 2, 10, 0.004, 0.5), share_of(1, 0.4, 3, 0.005, 0.5),
    )),
    "ErrorShareOutsideBandLowTraffic": Made((
        share_of(15, 0.3, 0.4, 0.005, 0.01, 0.5, 0.1), share_of(15, 0.05, 0.3, 0.01, 0.01, 0.5, 0.1),
        share_of(15, 0.01, 0.1, 0.01, 0.01, 0.5, 0.2),
    )),
    "RequestsRefused": Made((
        share_of(1, 20, 50, 0.0001, 0.5, blip=0.03), share_of(1, 3, 10, 0.002, 0.5, blip=0.05, blips_a_day=6),
        share_of(1, 1, 4, 0.0, 0.5, blip=0.0),
    )),
    "QueueOutsideBand": Made((queue_share(0.3, 1, 0.5), queue_share(1, 8, 3), queue_share(2, 18, 6))),
    "CacheHitShareBelowBand": Made((cache_hits(10, 30, 0.6), cache_hits(3, 12, 0.35, 0.15), cache_hits(2, 4, 0.85))),
    "TrafficBelowBand": Made((traffic(20, 40), traffic(1.2, 20), traffic(1, 4, True))),
    "JvmGcTimeOutsideBand": Made((
        pauses(2, 0.3, 0.015, 24, 0.4, 1.0), pauses(2, 1.5, 0.02, 10, 1.0, 0.5), pauses(2, 0.02, 0.03, 2, 1.5, 0.2),
    )),
    "TimeToFirstTokenOutsideBand": Made((
        tokens(_TTFT, 2, 8, 0.15, 0.6, 0.5, 0.2), tokens(_TTFT, 0.15, 3, 0.3, 0.9, 0.3, 0.2),
        tokens(_TTFT, 10, 12, 0.05, 0.5, 0.2, 0.2),
    )),
    "InterTokenLatencyOutsideBand": Made((
        tokens(_ITL, 100, 400, 0.02, 0.4, 0.5), tokens(_ITL, 10, 90, 0.035, 0.5, 0.7),
        tokens(_ITL, 40, 50, 0.012, 0.6, 0.2),
    )),
    "RequestsWaitingOutsideBand": Made((waiting(0, 0.3, 2), waiting(0.5, 6, 6), waiting(0, 2, 24))),
    "PythonGcTimeOutsideBand": Made((
        pauses(1, 0.5, 0.004, 12, 0.15, 1.0), pauses(1, 0.1, 0.01, 24, 0.3, 0.5), pauses(1, 2, 0.003, 4, 0.1, 1.5),
    )),
    "PythonGcCollectionsOutsideBand": Made((collections(0.3, 1), collections(2, 2), collections(0.05, 0.5))),
    "PythonMemoryOutsideBand": Made((
        memory(200, 700, 10, 20, 60), memory(120, 250, 2, 5, 10), memory(900, 3000, 25, 100, 200),
    )),
    "QueueBacklogOutsideBand": Made((backlog(2, 0, 0), backlog(20, 400, 0), backlog(60, 0, 4000))),
    "QueueOldestAgeOutsideBand": Made((oldest_age(0.5, 0, 0), oldest_age(2, 240, 0), oldest_age(1, 0, 1500))),
    "HostCpuOutsideBand": Made((
        cpu(0.05, 0.15, 0.6, 1.0), cpu(0.15, 0.5, 0.3, 0.3), cpu(0.3, 0.45, 0.0, 0.0, 0.05),
    )),
}
"""Per shipped rule with a band: a busy, a changing and a small or restless series, as such rules meet them."""
