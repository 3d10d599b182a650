package deploy

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func project(t *testing.T, environment types.Mapping) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  top + "/deploy/compose",
		ConfigFiles: []types.ConfigFile{{Filename: top + "/deploy/compose/compose.yaml"}},
		Environment: environment,
	})
}

func TestComposeStartsNodesThatThubanTakes(t *testing.T) {
	loaded, err := project(t, types.Mapping{"THUBAN_DATABASE_PASSWORD": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	m, addresses := newMachine(t), []string{}
	for number := 1; number <= 3; number++ {
		name := fmt.Sprintf("node%d", number)
		node, err := loaded.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		environment := map[string]string{"THUBAN_DATA_DIR": "/var/lib/thuban"}
		for key, value := range node.Environment {
			environment[key] = *value
		}
		m.accepts(t, nil, environment)
		address := node.Networks["cluster"].Ipv4Address
		if environment["THUBAN_ADVERTISE"] != address || slices.Contains(addresses, address) {
			t.Errorf("%s says that it is at %s, and is at %s", name, environment["THUBAN_ADVERTISE"], address)
		}
		addresses = append(addresses, address)
		if node.StopGracePeriod == nil || node.StopGracePeriod.String() != "30s" {
			t.Errorf("%s may be killed before it has drained: %v", name, node.StopGracePeriod)
		}
		if len(node.Command) > 0 {
			t.Errorf("%s has a command line, which everybody may read: %v", name, node.Command)
		}
	}
}

func TestComposeWantsAPassword(t *testing.T) {
	if _, err := project(t, types.Mapping{}); err == nil {
		t.Fatal("a database without a password is accepted")
	}
}
