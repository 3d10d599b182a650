// Consumer watches a service over gRPC: it prints each change, and the set that it leads to.
//
//	./generate.sh   # once
//	go run ./consumer -node 127.0.0.1:7801 -service orders
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"thuban-example/thubanv1"
)

var (
	node    = flag.String("node", "127.0.0.1:7801", "gRPC address of a node")
	service = flag.String("service", "", "service to watch")
)

// errDigest: what was seen is not whole, so everything must be asked for again.
var errDigest = errors.New("the digest differs")

type watcher struct {
	instances map[string]*thubanv1.Instance
	// The parts of a snapshot that is not complete yet. Until it is, the list from before stands.
	parts []*thubanv1.Instance
	// What the last event said to resume from.
	last *string
}

func main() {
	flag.Parse()
	if *service == "" {
		flag.Usage()
		os.Exit(2)
	}
	alive := keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}
	// By default gRPC itself waits up to two minutes between attempts to connect: too long for a list to be stale.
	soon := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	soon.Backoff.BaseDelay, soon.Backoff.MaxDelay = 100*time.Millisecond, 2*time.Second
	connection, err := grpc.NewClient(*node, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(alive), grpc.WithConnectParams(soon))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	client := thubanv1.NewRegistryClient(connection)
	w := &watcher{instances: map[string]*thubanv1.Instance{}}
	for failures := 0; ; failures++ {
		started := time.Now()
		err := w.watch(client)
		if errors.Is(err, errDigest) {
			w.last = nil
		}
		if time.Since(started) > 10*time.Second {
			failures = 0
		}
		fmt.Printf("%v; connecting again\n", err)
		longest := min(100*time.Millisecond<<min(failures, 6), 5*time.Second)
		time.Sleep(longest/2 + rand.N(longest/2))
	}
}

func (w *watcher) watch(client thubanv1.RegistryClient) error {
	call, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.parts = nil
	named := metadata.AppendToOutgoingContext(call, "thuban-client", "go example")
	stream, err := client.Watch(named, &thubanv1.WatchRequest{
		Namespace:    "default",
		Services:     []string{*service},
		FromRevision: w.last,
	})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.take(event); err != nil {
			return err
		}
		if event.ResumeRevision != "" {
			w.last = &event.ResumeRevision
		}
	}
}

func (w *watcher) take(event *thubanv1.WatchEvent) error {
	var digest string
	switch e := event.Event.(type) {
	case *thubanv1.WatchEvent_Snapshot:
		w.parts = append(w.parts, e.Snapshot.Items...)
		if !e.Snapshot.Complete {
			return nil
		}
		clear(w.instances)
		for _, instance := range w.parts {
			w.instances[instance.Id] = instance
		}
		w.parts = nil
		fmt.Println("snapshot", w.describe())
		digest = e.Snapshot.Digest
	case *thubanv1.WatchEvent_Change:
		for _, instance := range e.Change.Put {
			w.instances[instance.Id] = instance
			state := "healthy"
			if !instance.Healthy {
				state = instance.HealthReason
			}
			fmt.Println("put", instance.Id, state)
		}
		for _, removed := range e.Change.Removed {
			delete(w.instances, removed.Id)
			reason := strings.ToLower(strings.TrimPrefix(removed.Reason.String(), "REASON_"))
			fmt.Println("removed", removed.Id, reason)
		}
		fmt.Println("now", w.describe())
		digest = e.Change.Digest
	default:
		return nil
	}
	if digest != w.digest() {
		return errDigest
	}
	return nil
}

// digest is the proof that a list is whole, as the node computes it: a sum of hashes, modulo 2^128.
func (w *watcher) digest() string {
	total := new(big.Int)
	for _, instance := range w.instances {
		hash := sha256.Sum256([]byte(instance.Id + "\n" + instance.Revision))
		total.Add(total, new(big.Int).SetBytes(hash[:16]))
	}
	total.Mod(total, new(big.Int).Lsh(big.NewInt(1), 128))
	return fmt.Sprintf("%032x", total)
}

func (w *watcher) describe() string {
	var usable []string
	for _, instance := range w.instances {
		if instance.Healthy && !instance.Isolated {
			usable = append(usable, instance.Id)
		}
	}
	if len(usable) == 0 {
		return "nobody"
	}
	slices.Sort(usable)
	return strings.Join(usable, " ")
}
