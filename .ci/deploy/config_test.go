// Package deploy tries what is in deploy/ without the machines that it is for: the chart is rendered and each document
// read with Kubernetes's own types, the Compose file with Compose's, and whatever they would start Thuban with is put to
// `thuban config check`. THUBAN names that program.
package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const top = "../.."

// machine stands for the one that a node would run on: the files that it is given, by the paths that it is told.
type machine struct {
	files map[string]string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	folder := t.TempDir()
	certificate, key := certificate(t)
	files := map[string]string{}
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("cluster-secret", "0123456789abcdef0123456789abcdef\n")
	files["/etc/thuban/secret/cluster-secret"] = secret
	files["/run/secrets/cluster_secret"] = secret
	files["/etc/thuban/tls/tls.crt"] = write("tls.crt", certificate)
	files["/etc/thuban/tls/tls.key"] = write("tls.key", key)
	files["/etc/thuban/tokens/tokens"] = write("tokens", "")
	files["/var/lib/thuban"] = folder
	return machine{files}
}

func (m machine) found(word string) string {
	for there, here := range m.files {
		word = strings.ReplaceAll(word, there, here)
	}
	return word
}

// check asks Thuban itself: what it says, and whether it would start.
func (m machine) check(t *testing.T, args []string, environment map[string]string) (string, bool) {
	t.Helper()
	program := os.Getenv("THUBAN")
	if program == "" {
		t.Fatal("THUBAN does not say where the program is")
	}
	command := exec.Command(program, "config", "check")
	for _, arg := range args {
		command.Args = append(command.Args, m.found(arg))
	}
	command.Env = []string{"HOME=" + t.TempDir()}
	for name, value := range environment {
		command.Env = append(command.Env, name+"="+m.found(value))
	}
	said, err := command.CombinedOutput()
	return string(said), err == nil
}

func (m machine) accepts(t *testing.T, args []string, environment map[string]string) {
	t.Helper()
	if said, ok := m.check(t, args, environment); !ok {
		t.Errorf("thuban refuses %q with %v:\n%s", args, environment, said)
	}
}

func certificate(t *testing.T) (string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wanted := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"*.thuban-nodes.registry.svc"},
	}
	made, err := x509.CreateCertificate(rand.Reader, wanted, wanted, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return text("CERTIFICATE", made), text("PRIVATE KEY", private)
}

func TestTheCheckRefusesWhatIsWrong(t *testing.T) {
	args := []string{"--log=kafka://kafka:9092/thuban", "--store=mysql://thuban:hunter2@db/thuban"}
	said, ok := newMachine(t).check(t, args, nil)
	if ok || !strings.Contains(said, "cluster_secret_file") {
		t.Fatalf("a node of a cluster without a secret is accepted: %s", said)
	}
}

// The example for systemd, with the environment that the unit gives it.
func TestThubanTakesTheFilesForSystemd(t *testing.T) {
	m := newMachine(t)
	environment := map[string]string{
		"THUBAN_DATA_DIR":            "/var/lib/thuban",
		"THUBAN_CLUSTER_SECRET_FILE": "/run/secrets/cluster_secret",
	}
	text, err := os.ReadFile(top + "/deploy/systemd/thuban.env")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			environment[name] = value
		}
	}
	if !strings.HasPrefix(environment["THUBAN_STORE"], "mysql://") {
		t.Fatalf("no store in %s", text)
	}
	m.accepts(t, []string{"--config=" + top + "/deploy/systemd/thuban.toml"}, environment)
}
