package deploy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"
)

const chartFolder = top + "/deploy/helm/thuban"

type values = map[string]any

// What an operator must say, and then one of many ways to go on.
func said(more values) values {
	all := values{"secret": "thuban-secret", "log": "kafka://kafka-0:9092,kafka-1:9092/thuban"}
	for name, value := range more {
		all[name] = value
	}
	return all
}

var ways = map[string]values{
	"insecure": said(values{"insecure": true}),
	"guarded":  said(values{"tokensSecret": "thuban-tokens", "tlsSecret": "thuban-tls", "kafkaSettings": true}),
	"TLS alone over IPv6": said(values{
		"tlsSecret": "thuban-tls", "insecure": true, "ipFamily": "IPv6", "drainTimeoutMs": 30001, "preStopSeconds": 15,
	}),
	"one of each choice": said(values{
		"insecure": true, "replicas": 1, "copySize": "512Mi", "networkPolicy": values{"enabled": false}, "priorityClassName": "system",
		"podAnnotations": values{"prometheus.io/scrape": "true"}, "podLabels": values{"team": "platform"},
		"nodeSelector": values{"disk": "any"}, "tolerations": []any{values{"operator": "Exists"}},
		"imagePullSecrets": []any{values{"name": "pull"}}, "extraArgs": []any{"--connections-max=4096"},
		"service": values{"type": "LoadBalancer", "annotations": values{"a": "b"}},
	}),
}

func render(t *testing.T, given values) ([]runtime.Object, error) {
	t.Helper()
	read, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "thuban", Namespace: "registry", Revision: 1, IsInstall: true}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	filled, err := chartutil.ToRenderValues(read, given, release, capabilities)
	if err != nil {
		return nil, err
	}
	texts, err := engine.Render(read, filled)
	if err != nil {
		return nil, err
	}
	return decode(t, read, texts), nil
}

// decode reads each document as the API server would, to which a field that it does not know is an error.
func decode(t *testing.T, read *chart.Chart, texts map[string]string) []runtime.Object {
	t.Helper()
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	var objects []runtime.Object
	for _, template := range read.Templates {
		text := texts[read.Name()+"/"+template.Name]
		if filepath.Ext(template.Name) != ".yaml" {
			continue
		}
		for document := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			object, _, err := strict.Decode([]byte(document), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", template.Name, err, document)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

func one[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	at := slices.IndexFunc(objects, func(object runtime.Object) bool { _, ok := object.(T); return ok })
	if at < 0 {
		t.Fatalf("there is no %T", *new(T))
	}
	return objects[at].(T)
}

func TestLint(t *testing.T) {
	for name, given := range ways {
		for _, message := range lint.All(chartFolder, given, "registry", true).Messages {
			if message.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, message)
			}
		}
	}
}

func TestEveryWayIsWhatKubernetesAndThubanTake(t *testing.T) {
	for name, given := range ways {
		t.Run(name, func(t *testing.T) {
			objects, err := render(t, given)
			if err != nil {
				t.Fatal(err)
			}
			set := one[*apps.StatefulSet](t, objects)
			selectsItsPods(t, objects, set)
			stopsInTime(t, set)
			takesItsArguments(t, set, given)
			mountsWhatItNames(t, set)
		})
	}
}

func selectsItsPods(t *testing.T, objects []runtime.Object, set *apps.StatefulSet) {
	t.Helper()
	pods := labels.Set(set.Spec.Template.Labels)
	selectors := map[string]*meta.LabelSelector{"the set": set.Spec.Selector}
	services := []string{}
	for _, object := range objects {
		switch object := object.(type) {
		case *core.Service:
			services = append(services, object.Name)
			selectors[object.Name] = &meta.LabelSelector{MatchLabels: object.Spec.Selector}
			for _, port := range object.Spec.Ports {
				hasPort(t, set, port.TargetPort.StrVal, port.Port, port.Protocol)
			}
		case *policy.PodDisruptionBudget:
			selectors["the budget"] = object.Spec.Selector
		case *network.NetworkPolicy:
			selectors["the policy"] = &object.Spec.PodSelector
		}
	}
	for name, selector := range selectors {
		built, err := meta.LabelSelectorAsSelector(selector)
		if err != nil || built.Empty() || !built.Matches(pods) {
			t.Errorf("%s does not select the pods: %v %v", name, selector, err)
		}
	}
	if !slices.Contains(services, set.Spec.ServiceName) {
		t.Errorf("the set's service %s is not among %v", set.Spec.ServiceName, services)
	}
	several := *set.Spec.Replicas > 1
	if _, budgeted := selectors["the budget"]; budgeted != several {
		t.Errorf("a budget for one node would keep its host for ever; %d nodes, budget: %v", *set.Spec.Replicas, budgeted)
	}
}

func hasPort(t *testing.T, set *apps.StatefulSet, name string, number int32, protocol core.Protocol) {
	t.Helper()
	for _, port := range set.Spec.Template.Spec.Containers[0].Ports {
		same := port.Protocol == protocol || port.Protocol+protocol == core.ProtocolTCP
		if port.Name == name && port.ContainerPort == number && same {
			return
		}
	}
	t.Errorf("the pods have no port %s (%d, %s)", name, number, protocol)
}

// The bound of a drain: the doors' own, 10 s for what is to land, 2 s for threads (gateway/server/src/wire.rs).
func stopsInTime(t *testing.T, set *apps.StatefulSet) {
	t.Helper()
	pod := set.Spec.Template.Spec
	container := pod.Containers[0]
	drainMs := int64(0)
	for _, arg := range container.Args {
		if value, ok := strings.CutPrefix(arg, "--drain-timeout-ms="); ok {
			if _, err := fmt.Sscan(value, &drainMs); err != nil {
				t.Fatal(err)
			}
		}
	}
	needed := container.Lifecycle.PreStop.Sleep.Seconds*1000 + drainMs + 12_000
	if drainMs == 0 || *pod.TerminationGracePeriodSeconds*1000 < needed {
		t.Errorf("a node may need %d ms to stop, and gets %d s", needed, *pod.TerminationGracePeriodSeconds)
	}
	if get := container.ReadinessProbe.HTTPGet; get.Path != "/readyz" || get.Port.StrVal != "http" {
		t.Errorf("readiness: %v", get)
	}
	if get := container.LivenessProbe.HTTPGet; get.Path != "/livez" || get.Port.StrVal != "http" {
		t.Errorf("liveness: %v", get)
	}
}

func takesItsArguments(t *testing.T, set *apps.StatefulSet, given values) {
	t.Helper()
	address, container := "10.0.0.7", set.Spec.Template.Spec.Containers[0]
	if given["ipFamily"] == "IPv6" {
		address = "fd00::7"
	}
	secrets := map[string]string{
		"store":          "mysql://thuban:hunter2@db:3306/thuban",
		"kafka-settings": "sasl.username=thuban,sasl.password=hunter2,sasl.mechanism=PLAIN,security.protocol=sasl_plaintext",
	}
	fields := map[string]string{"metadata.name": "thuban-0", "status.podIP": address}
	environment, named := map[string]string{}, []string{}
	for _, variable := range container.Env {
		if from := variable.ValueFrom; from.SecretKeyRef != nil {
			environment[variable.Name] = secrets[from.SecretKeyRef.Key]
		} else {
			named = append(named, "$("+variable.Name+")", fields[from.FieldRef.FieldPath])
		}
	}
	filled := strings.NewReplacer(named...)
	var args []string
	for _, arg := range container.Args[1:] {
		args = append(args, filled.Replace(arg))
	}
	if joined := strings.Join(args, " "); container.Args[0] != "serve" || strings.Contains(joined, "$(") {
		t.Errorf("not all is filled in: %s", joined)
	}
	guarded := given["tokensSecret"] != nil && given["tlsSecret"] != nil
	if slices.Contains(args, "--insecure") == guarded {
		t.Errorf("--insecure is for what has no tokens or no TLS: %v", args)
	}
	newMachine(t).accepts(t, args, environment)
}

func mountsWhatItNames(t *testing.T, set *apps.StatefulSet) {
	t.Helper()
	pod := set.Spec.Template.Spec
	mounts := pod.Containers[0].VolumeMounts
	for _, arg := range pod.Containers[0].Args {
		_, path, _ := strings.Cut(arg, "=")
		under := func(mount core.VolumeMount) bool {
			return path == mount.MountPath || strings.HasPrefix(path, mount.MountPath+"/")
		}
		if strings.HasPrefix(path, "/") && !slices.ContainsFunc(mounts, under) {
			t.Errorf("nothing is mounted for %s", arg)
		}
	}
	for _, mount := range mounts {
		if !slices.ContainsFunc(pod.Volumes, func(volume core.Volume) bool { return volume.Name == mount.Name }) {
			t.Errorf("there is no volume %s", mount.Name)
		}
	}
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	for wanted, given := range map[string]values{
		"insecure: true":         said(nil),
		"tokensSecret":           said(values{"tlsSecret": "thuban-tls"}),
		"secret":                 {"log": "kafka://a:1/t", "insecure": true},
		"kafka://":               {"secret": "s", "insecure": true},
		"'^(kafka:":              said(values{"insecure": true, "log": "local:log.sqlite"}),
		"additional properties":  said(values{"insecure": true, "relpicas": 3}),
		"minimum":                said(values{"insecure": true, "replicas": 0}),
		"must be one of":         said(values{"insecure": true, "ipFamily": "IPv5"}),
		"does not match pattern": said(values{"insecure": true, "extraArgs": []any{"serve"}}),
	} {
		if _, err := render(t, given); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%v: wanted a word of %q, and got %v", given, wanted, err)
		}
	}
}
