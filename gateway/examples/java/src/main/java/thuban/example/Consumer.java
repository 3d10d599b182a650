package thuban.example;

import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import thuban.v1.Change;
import thuban.v1.Instance;
import thuban.v1.RegistryGrpc;
import thuban.v1.Removed;
import thuban.v1.Snapshot;
import thuban.v1.WatchEvent;
import thuban.v1.WatchRequest;

/**
 * Watches a service: prints each change, and the set that it leads to.
 *
 * <pre>
 * mvn -q package
 * java -cp 'target/example-1.jar:target/lib/*' thuban.example.Consumer 127.0.0.1:7801 orders
 * </pre>
 */
public final class Consumer {
  private final ManagedChannel channel;
  private final RegistryGrpc.RegistryBlockingStub registry;
  private final String service;
  private final SortedMap<String, Instance> instances = new TreeMap<>();

  /** The parts of a snapshot that is not complete yet. Until it is, the list from before stands. */
  private final List<Instance> parts = new ArrayList<>();

  /** What the last event said to resume from. Null: everything is asked for. */
  private String last;

  private Consumer(ManagedChannel channel, String service) {
    this.channel = channel;
    this.registry = RegistryGrpc.newBlockingStub(channel);
    this.service = service;
  }

  public static void main(String[] arguments) throws InterruptedException {
    if (arguments.length != 2) {
      System.err.println("usage: Consumer HOST:PORT SERVICE");
      System.exit(2);
    }
    ManagedChannel channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create())
            .keepAliveTime(10, TimeUnit.SECONDS)
            .keepAliveTimeout(5, TimeUnit.SECONDS)
            .build();
    new Consumer(channel, arguments[1]).run();
  }

  private void run() throws InterruptedException {
    for (int failures = 0; ; failures++) {
      long started = System.nanoTime();
      // Closing the context ends the call, however we leave it.
      try (Context.CancellableContext call = Context.current().withCancellation()) {
        call.run(this::watch);
        say("the node ended the stream; connecting again");
      } catch (StatusRuntimeException error) {
        say(shortly(error.getStatus()) + "; connecting again");
      } catch (NotWhole error) {
        last = null;
        say(error.getMessage() + "; asking for everything again");
      }
      if (System.nanoTime() - started > TimeUnit.SECONDS.toNanos(10)) {
        failures = 0;
      }
      long longest = Math.min(100L << Math.min(failures, 6), 5_000);
      Thread.sleep(longest / 2 + ThreadLocalRandom.current().nextLong(longest / 2));
      channel.resetConnectBackoff(); // else gRPC itself waits, at last two minutes, and our pause means nothing
    }
  }

  private void watch() {
    parts.clear();
    WatchRequest.Builder wanted = WatchRequest.newBuilder().setNamespace("default").addServices(service);
    if (last != null) {
      wanted.setFromRevision(last);
    }
    Iterator<WatchEvent> events = registry.watch(wanted.build());
    while (events.hasNext()) {
      WatchEvent event = events.next();
      take(event);
      if (!event.getResumeRevision().isEmpty()) {
        last = event.getResumeRevision();
      }
    }
  }

  private void take(WatchEvent event) {
    switch (event.getEventCase()) {
      case SNAPSHOT -> take(event.getSnapshot());
      case CHANGE -> take(event.getChange());
      default -> { }
    }
  }

  private void take(Snapshot snapshot) {
    parts.addAll(snapshot.getItemsList());
    if (!snapshot.getComplete()) {
      return;
    }
    instances.clear();
    parts.forEach(instance -> instances.put(instance.getId(), instance));
    parts.clear();
    say("snapshot " + describe());
    check(snapshot.getDigest());
  }

  private void take(Change change) {
    for (Instance instance : change.getPutList()) {
      instances.put(instance.getId(), instance);
      say("put " + instance.getId() + " " + (instance.getHealthy() ? "healthy" : instance.getHealthReason()));
    }
    for (Removed removed : change.getRemovedList()) {
      instances.remove(removed.getId());
      String reason = removed.getReason().name().replace("REASON_", "").toLowerCase();
      say("removed " + removed.getId() + " " + reason);
    }
    say("now " + describe());
    check(change.getDigest());
  }

  /** The digest is the proof that a list is whole: a sum of hashes, modulo 2^128, as the node computes it. */
  private void check(String digest) {
    BigInteger total = BigInteger.ZERO;
    for (Instance instance : instances.values()) {
      byte[] hash = sha256(instance.getId() + "\n" + instance.getRevision());
      total = total.add(new BigInteger(1, Arrays.copyOf(hash, 16)));
    }
    if (!digest.equals("%032x".formatted(total.mod(BigInteger.ONE.shiftLeft(128))))) {
      throw new NotWhole();
    }
  }

  private static byte[] sha256(String text) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
    } catch (NoSuchAlgorithmException impossible) {
      throw new AssertionError("every Java has SHA-256", impossible);
    }
  }

  /** What was seen is not all there is. */
  private static final class NotWhole extends RuntimeException {
    NotWhole() {
      super("the digest differs");
    }
  }

  private String describe() {
    String usable =
        instances.values().stream()
            .filter(instance -> instance.getHealthy() && !instance.getIsolated())
            .map(Instance::getId)
            .collect(Collectors.joining(" "));
    return usable.isEmpty() ? "nobody" : usable;
  }

  private static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }

  /** What happened, without the stack trace that a status brings along. */
  private static String shortly(Status status) {
    Throwable cause = status.getCause();
    return status.getCode() + ": " + (cause == null ? status.getDescription() : cause.getMessage());
  }
}
