package supervisor

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// knowing returns a supervisor with services in various states.
func knowing(t *testing.T) *Supervisor {
	t.Helper()
	s := newSupervisor(t)
	for _, known := range append(someServices(),
		seen{config.Service{Name: "lies"}, snapshot{state: "of a later build", process: asleep(t), report: &proto.State{
			Wanted: 99, Head: strings.Repeat("\xff", 10_000), Deployed: "\"\n", Outcome: -1, ErrorSince: 1 << 62, DeployedAt: -1,
		}}}) {
		i := newInstance(s.launcher, known.service, nil)
		i.view.snapshot = known.snapshot
		s.instances[known.service.Name] = i
	}
	return s
}

// The names follow Prometheus' rules, and what is gathered is consistent.
func TestMetricsAreSound(t *testing.T) {
	s := knowing(t)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(collector{s.host}); err != nil {
		t.Fatal(err)
	}
	found, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range found {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestMetrics(t *testing.T) {
	s := knowing(t)
	s.Configuration.Rejected(errors.New("pgo.toml:3: bad"))
	s.instances["b"].view.deploys.add(hoststat.OutcomeRefused)
	want := `
# HELP pgo_config_last_reload_successful Whether the configuration on disk is the one in force.
# TYPE pgo_config_last_reload_successful gauge
pgo_config_last_reload_successful 0
# HELP pgo_service_deployed_info 1, with the commit that is deployed.
# TYPE pgo_service_deployed_info gauge
pgo_service_deployed_info{commit="\"\\n",service="lies"} 1
pgo_service_deployed_info{commit="aaaaaaaaaa",service="a-long-name"} 1
pgo_service_deployed_info{commit="bbbbbbbbbb",service="b"} 1
# HELP pgo_service_deploys_total Deploys that ended while pgod was running, by outcome; repeated failures for the same reason count once.
# TYPE pgo_service_deploys_total counter
` + each(`pgo_service_deploys_total{outcome="degraded",service="%"} 0`) + each(`pgo_service_deploys_total{outcome="deployed",service="%"} 0`) +
		each(`pgo_service_deploys_total{outcome="failed",service="%"} 0`) +
		strings.Replace(each(`pgo_service_deploys_total{outcome="refused",service="%"} 0`), `"b"} 0`, `"b"} 1`, 1) + `
# HELP pgo_service_up_to_date Whether the commit that is deployed is the branch's head as fetched.
# TYPE pgo_service_up_to_date gauge
pgo_service_up_to_date{service="a-long-name"} 1
pgo_service_up_to_date{service="b"} 0
pgo_service_up_to_date{service="lies"} 0
# HELP pgo_service_wanted_up Whether the service should run: 0 after down.
# TYPE pgo_service_wanted_up gauge
pgo_service_wanted_up{service="a-long-name"} 1
pgo_service_wanted_up{service="b"} 1
pgo_service_wanted_up{service="lies"} 0
# HELP pgo_worker_restarts_total How often the worker has ended.
# TYPE pgo_worker_restarts_total counter
pgo_worker_restarts_total{service="a-long-name"} 0
pgo_worker_restarts_total{service="b"} 2
pgo_worker_restarts_total{service="c"} 0
pgo_worker_restarts_total{service="lies"} 0
# HELP pgo_worker_start_time_seconds When the worker process was started; absent while there is none.
# TYPE pgo_worker_start_time_seconds gauge
pgo_worker_start_time_seconds{service="lies"} 1.777896e+09
`
	if err := testutil.CollectAndCompare(collector{s.host}, strings.NewReader(want), "pgo_config_last_reload_successful", "pgo_service_deployed_info",
		"pgo_service_deploys_total", "pgo_service_up_to_date", "pgo_service_wanted_up", "pgo_worker_restarts_total", "pgo_worker_start_time_seconds"); err != nil {
		t.Error(err)
	}

	s = newSupervisor(t)
	s.Configuration.Rejected(errors.New("pgo.toml:3: bad"))
	s.Apply(nil, nil, 0)
	if got := testutil.ToFloat64(only{collector{s.host}, configGood}); got != 1 {
		t.Errorf("after another configuration, got %f", got)
	}
	if got := testutil.ToFloat64(only{collector{s.host}, configTime}); time.Since(time.Unix(int64(got), 0)) > time.Minute {
		t.Errorf("the configuration's time is %f", got)
	}
}

// each returns the line once for each service of knowing.
func each(line string) string {
	var all string
	for _, name := range []string{"a-long-name", "b", "c", "lies"} {
		all += strings.Replace(line, "%", name, 1) + "\n"
	}
	return all
}

// only is a collector reduced to one metric.
type only struct {
	collector
	metric metric
}

func (o only) Describe(descs chan<- *prometheus.Desc) { descs <- o.metric.desc() }

func (o only) Collect(out chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		o.collector.Collect(all)
		close(all)
	}()
	for m := range all {
		if m.Desc().String() == o.metric.desc().String() {
			out <- m
		}
	}
}

// Prometheus can parse the output, and the metrics of the process itself are included.
func TestShowMetrics(t *testing.T) {
	s := knowing(t)
	s.CountConnections(func() int { return 7 })
	var out bytes.Buffer
	if exit := s.host.showMetrics(t.Context(), sshd.Command{Stdout: &out}, target.Args{}); exit != (sshd.Exit{}) {
		t.Fatalf("exit %+v", exit)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pgo_build_info", "process_resident_memory_bytes", "go_goroutines"} {
		if families[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	if n := families["pgo_ssh_connections"].GetMetric()[0].GetGauge().GetValue(); n != 7 {
		t.Errorf("there are %f connections", n)
	}
	states := map[string]int{}
	for _, m := range families["pgo_service_state"].GetMetric() {
		if m.GetGauge().GetValue() == 1 {
			states[m.GetLabel()[0].GetValue()]++
		}
	}
	if states["a-long-name"] != 1 || states["b"] != 1 || states["c"] != 1 || states["lies"] != 1 {
		t.Errorf("number of states per service: %v", states)
	}
}

// The document lists each metric with its labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(pgo_[^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed[row[1]] = true
	}
	for _, m := range metrics {
		name := m.name
		if len(m.labels) > 0 {
			name += "{" + strings.Join(m.labels, ",") + "}"
		}
		if !listed[name] {
			t.Errorf("docs/metrics.md has no row for %s", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("docs/metrics.md has %s, which is not a metric", name)
	}
}
