import java.util.ArrayList;
import java.util.List;

/** A JVM to be watched: allocates, keeps some of it, asks for full collections, then stands still. */
public class Churn {
    static volatile Object sink;
    static final List<byte[]> kept = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int rounds = Integer.parseInt(args[0]);
        int fulls = Integer.parseInt(args[1]);
        for (int i = 0; i < 3; i++) {
            Thread idle = new Thread(() -> pause(3_600_000), "idle-" + i);
            idle.setDaemon(true);
            idle.start();
        }
        for (int i = 0; i < rounds; i++) {
            byte[] block = new byte[50_000];
            sink = block;
            if (i % 20 == 0) kept.add(block);
            if (kept.size() > 300) kept.subList(0, 150).clear();
        }
        for (int i = 0; i < fulls; i++) System.gc();
        System.out.println("READY");
        pause(3_600_000);
    }

    static void pause(long ms) {
        try { Thread.sleep(ms); } catch (InterruptedException stop) { Thread.currentThread().interrupt(); }
    }
}
