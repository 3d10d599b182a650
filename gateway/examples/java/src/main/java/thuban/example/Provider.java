package thuban.example;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import thuban.v1.DeregisterRequest;
import thuban.v1.InstanceKey;
import thuban.v1.Lease;
import thuban.v1.Problem;
import thuban.v1.RegisterItem;
import thuban.v1.RegisterOutcome;
import thuban.v1.RegisterRequest;
import thuban.v1.RegistryGrpc;
import thuban.v1.RenewRequest;

/**
 * Registers an instance and keeps its TTL lease until it is told to stop.
 *
 * <pre>
 * mvn -q package
 * java -cp 'target/example-1.jar:target/lib/*' thuban.example.Provider 127.0.0.1:7801 orders a 10.0.0.7 8080 15000
 * </pre>
 */
public final class Provider {
  private final ManagedChannel channel;
  private final RegistryGrpc.RegistryBlockingStub registry;
  private final RegisterItem self;
  private final int ttlMs;

  /** Names this life of the instance: with it, nothing said here ever harms a successor. */
  private String generation;

  private Provider(ManagedChannel channel, String[] arguments) {
    this.channel = channel;
    this.registry = RegistryGrpc.newBlockingStub(channel);
    this.ttlMs = Integer.parseInt(arguments[5]);
    Lease lease =
        Lease.newBuilder().setKind(Lease.Kind.KIND_TTL).setTtlMs(ttlMs).setRemoveAfterMs(2 * ttlMs).build();
    this.self =
        RegisterItem.newBuilder()
            .setNamespace("default")
            .setService(arguments[1])
            .setId(arguments[2])
            .setHost(arguments[3])
            .setPort(Integer.parseInt(arguments[4]))
            .putMetadata("language", "java")
            .setLease(lease)
            .build();
  }

  public static void main(String[] arguments) throws InterruptedException {
    if (arguments.length != 6) {
      System.err.println("usage: Provider HOST:PORT SERVICE ID HOST PORT TTL_MS");
      System.exit(2);
    }
    ManagedChannel channel = Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    Provider provider = new Provider(channel, arguments);
    CountDownLatch stop = new CountDownLatch(1);
    Thread main = Thread.currentThread();
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  stop.countDown();
                  try {
                    main.join(5_000);
                  } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                  }
                }));
    provider.run(stop);
  }

  private void run(CountDownLatch stop) throws InterruptedException {
    int failures = 0;
    long pause = 0;
    while (!stop.await(pause, TimeUnit.MILLISECONDS)) {
      try {
        if (generation == null) {
          register();
        } else {
          renew();
        }
        failures = 0;
        pause = ttlMs / 3; // leaves room for two attempts to fail
      } catch (StatusRuntimeException error) {
        System.out.println(shortly(error.getStatus()) + "; trying again");
        failures++;
        channel.resetConnectBackoff(); // else gRPC itself waits, at last two minutes: longer than the lease
        long longest = Math.min(100L << Math.min(failures, 6), ttlMs / 3);
        pause = longest / 2 + ThreadLocalRandom.current().nextLong(longest / 2);
      }
    }
    if (generation != null) {
      deregister();
    }
  }

  private void deregister() {
    String name = self.getService() + "/" + self.getId();
    String failure;
    try {
      var outcome = patient().deregister(DeregisterRequest.newBuilder().addItems(key()).build()).getItems(0);
      if (!outcome.hasProblem() || isGone(outcome.getProblem())) {
        System.out.println("deregistered " + name);
        return;
      }
      failure = outcome.getProblem().getCode() + ": " + outcome.getProblem().getDetail();
    } catch (StatusRuntimeException error) {
      failure = shortly(error.getStatus());
    }
    System.out.println(failure + "; the node removes " + name + " when its lease is over");
  }

  private RegistryGrpc.RegistryBlockingStub patient() {
    return registry.withDeadlineAfter(ttlMs / 6, TimeUnit.MILLISECONDS);
  }

  private InstanceKey key() {
    return InstanceKey.newBuilder()
        .setNamespace(self.getNamespace())
        .setService(self.getService())
        .setId(self.getId())
        .setGeneration(generation)
        .build();
  }

  private void register() {
    RegisterRequest wanted = RegisterRequest.newBuilder().addItems(self).build();
    RegisterOutcome outcome = patient().register(wanted).getItems(0);
    if (outcome.hasProblem()) {
      Problem problem = outcome.getProblem();
      System.out.println("register: " + problem.getCode() + ": " + problem.getDetail());
      return;
    }
    generation = outcome.getInstance().getGeneration();
    if (generation.isEmpty()) { // the log is away: it has none yet
      generation = null;
    }
    System.out.println("registered " + self.getService() + "/" + self.getId() + " generation " + generation);
  }

  private void renew() {
    RenewRequest wanted = RenewRequest.newBuilder().addItems(key()).build();
    var outcome = patient().renew(wanted).getItems(0);
    if (!outcome.hasProblem()) {
      return;
    }
    if (isGone(outcome.getProblem())) {
      generation = null;
      register();
    } else {
      System.out.println("renew: " + outcome.getProblem().getCode() + "; trying again");
    }
  }

  /** Whether this life of the instance is over: it was removed, or somebody took its place. */
  private static boolean isGone(Problem problem) {
    return problem.getCode().endsWith("_not_found") || problem.getCode().equals("generation_mismatch");
  }

  /** What happened, without the stack trace that a status brings along. */
  private static String shortly(Status status) {
    Throwable cause = status.getCause();
    return status.getCode() + ": " + (cause == null ? status.getDescription() : cause.getMessage());
  }
}
