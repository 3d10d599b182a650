// Provider holds a session with Thuban: its instance lives while this process's connection does, and nothing is to be
// renewed. After a lost connection the session is resumed by its token, on any node, within its grace.
//
//	./generate.sh   # once
//	go run ./provider -node 127.0.0.1:7801 -service orders -id a -host 10.0.0.7 -port 8080
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"thuban-example/thubanv1"
)

var (
	node    = flag.String("node", "127.0.0.1:7801", "gRPC address of a node")
	service = flag.String("service", "", "service to register")
	id      = flag.String("id", "", "instance id")
	host    = flag.String("host", "", "host to be called at")
	port    = flag.Uint("port", 0, "port to be called at")
	graceMs = flag.Uint("grace-ms", 10_000, "how long the instance outlives a lost connection")
)

// goodbyeWithin is how long a node may take over our goodbye. Behind it the grace ends what we had registered.
const goodbyeWithin = 5 * time.Second

var (
	errGoodbye = errors.New("goodbye") // said and taken: the end of the process
	errMove    = errors.New("the node asked us to move")
)

type provider struct {
	client thubanv1.RegistryClient
	token  []byte
}

func main() {
	flag.Parse()
	if *service == "" || *id == "" || *host == "" {
		flag.Usage()
		os.Exit(2)
	}
	// The server pings as well; these tell this side when the connection is dead.
	alive := keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}
	// By default gRPC itself waits up to two minutes between attempts to connect: longer than any grace.
	soon := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	soon.Backoff.BaseDelay, soon.Backoff.MaxDelay = 100*time.Millisecond, 2*time.Second
	connection, err := grpc.NewClient(*node, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(alive), grpc.WithConnectParams(soon))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer connection.Close()
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	p := &provider{client: thubanv1.NewRegistryClient(connection)}
	for failures := 0; ; failures++ {
		started := time.Now()
		err := p.hold(stop)
		if errors.Is(err, errGoodbye) {
			fmt.Printf("deregistered %s/%s\n", *service, *id)
			return
		}
		if stop.Err() != nil {
			fmt.Printf("%v; the node removes %s/%s when its grace is over\n", err, *service, *id)
			return
		}
		if time.Since(started) > 10*time.Second {
			failures = 0
		}
		fmt.Printf("%v; connecting again\n", err)
		select {
		case <-time.After(pause(failures)):
		case <-stop.Done(): // connects once more, to say goodbye
		}
	}
}

// pause grows with each failure and is never in step with other clients.
func pause(failures int) time.Duration {
	longest := min(100*time.Millisecond<<min(failures, 5), 2*time.Second)
	return longest/2 + rand.N(longest/2)
}

// hold opens or resumes the session, registers, and stays until the stream ends. Only this goroutine sends: a stream
// takes one sender at a time.
func (p *provider) hold(stop context.Context) error {
	call, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(stop, func() { time.AfterFunc(goodbyeWithin, cancel) })()
	// While we are to run, a node that is away is worth a line; for the goodbye it is waited for.
	stream, err := p.client.Session(call, grpc.WaitForReady(stop.Err() != nil))
	if err != nil {
		return err
	}
	open := &thubanv1.Open{Token: p.token, GraceMs: proto.Uint32(uint32(*graceMs)), Client: "go example"}
	if err := stream.Send(&thubanv1.SessionRequest{RequestId: 1, Request: &thubanv1.SessionRequest_Open{Open: open}}); err != nil {
		return err
	}
	replies, failed := make(chan *thubanv1.SessionReply), make(chan error, 1)
	go receive(stream, replies, failed)
	stopped := stop.Done()
	var moved <-chan time.Time
	for {
		select {
		case <-stopped:
			stopped = nil
			goodbye := &thubanv1.SessionRequest_Goodbye{Goodbye: &thubanv1.Goodbye{Deregister: true}}
			if err := stream.Send(&thubanv1.SessionRequest{RequestId: 3, Request: goodbye}); err != nil {
				return err
			}
		case <-moved:
			return errMove
		case err := <-failed:
			return err
		case reply := <-replies:
			if move := reply.GetMove(); move != nil {
				// The node is about to stop: the session goes on at another one, with the same token.
				moved = time.After(time.Duration(move.AfterMs) * time.Millisecond)
				continue
			}
			if err := p.take(reply); err != nil {
				return err
			}
			if reply.GetOpened() != nil && stop.Err() == nil {
				if err := stream.Send(register()); err != nil {
					return err
				}
			}
		}
	}
}

// receive hands over what the node says, until the stream fails or its call is cancelled.
func receive(stream thubanv1.Registry_SessionClient, replies chan<- *thubanv1.SessionReply, failed chan<- error) {
	for {
		reply, err := stream.Recv()
		if err != nil {
			failed <- err
			return
		}
		select {
		case replies <- reply:
		case <-stream.Context().Done():
			return
		}
	}
}

func (p *provider) take(reply *thubanv1.SessionReply) error {
	switch answer := reply.Reply.(type) {
	case *thubanv1.SessionReply_Opened:
		p.token = answer.Opened.Token
		fmt.Printf("session epoch %d resumed %v\n", answer.Opened.Epoch, answer.Opened.Resumed)
	case *thubanv1.SessionReply_Registered:
		outcome := answer.Registered.Items[0]
		if problem := outcome.GetProblem(); problem != nil {
			return fmt.Errorf("register: %s: %s", problem.Code, problem.Detail)
		}
		fmt.Printf("registered %s/%s generation %s\n", *service, *id, outcome.GetInstance().Generation)
	case *thubanv1.SessionReply_Goodbye:
		return errGoodbye
	case *thubanv1.SessionReply_Problem:
		return fmt.Errorf("%s: %s", answer.Problem.Code, answer.Problem.Detail)
	}
	return nil
}

// register says the same each time: after a resume that changes nothing, after a lost session it registers again.
func register() *thubanv1.SessionRequest {
	item := &thubanv1.RegisterItem{
		Namespace: "default",
		Service:   *service,
		Id:        *id,
		Host:      *host,
		Port:      proto.Uint32(uint32(*port)),
		Metadata:  map[string]string{"language": "go"},
		Lease:     &thubanv1.Lease{Kind: thubanv1.Lease_KIND_STREAM},
	}
	request := &thubanv1.RegisterRequest{Items: []*thubanv1.RegisterItem{item}}
	return &thubanv1.SessionRequest{RequestId: 2, Request: &thubanv1.SessionRequest_Register{Register: request}}
}
