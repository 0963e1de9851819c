package supervisor

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/internal/version"
)

// metric is one of pgod's metrics. Its labels have few values, except for a commit, of which
// there is one at a time.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

func (m metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

// The metrics, as docs/metrics.md lists them.
var (
	buildInfo      = gauge("pgo_build_info", "1, with pgod's version.", "version")
	configGood     = gauge("pgo_config_last_reload_successful", "Whether the configuration on disk is the one in force.")
	configTime     = gauge("pgo_config_last_reload_success_timestamp_seconds", "When the configuration in force was read.")
	connections    = gauge("pgo_ssh_connections", "Open SSH connections, including those that have not logged in.")
	serviceState   = gauge("pgo_service_state", "1 for the state that the service is in, as status shows it, and 0 for the others.", "service", "state")
	serviceWanted  = gauge("pgo_service_wanted_up", "Whether the service should run: 0 after down.", "service")
	serviceCurrent = gauge("pgo_service_up_to_date", "Whether the commit that is deployed is the branch's head as fetched.", "service")
	serviceDeploy  = gauge("pgo_service_deployed_info", "1, with the commit that is deployed.", "service", "commit")
	serviceHead    = gauge("pgo_service_head_info", "1, with the branch's head as fetched.", "service", "commit")
	serviceTime    = gauge("pgo_service_deployed_timestamp_seconds", "When what is deployed was deployed.", "service")
	serviceOutcome = gauge("pgo_service_last_outcome", "1 for the outcome of the last deploy or poll, and 0 for the others.", "service", "outcome")
	serviceError   = gauge("pgo_service_error_timestamp_seconds", "Since when the service has its present error; absent without one.", "service")
	serviceFrozen  = gauge("pgo_service_frozen", "Whether the branch is not followed.", "service")
	serviceUnwell  = gauge("pgo_service_unwell_containers", "How many things about the containers are not as they should be.", "service")
	servicePorts   = gauge("pgo_service_used_ports", "How many host ports the running containers have published.", "service")
	serviceDeploys = counter("pgo_service_deploys_total", "Deploys that ended while pgod was running, by outcome; repeated failures for the same reason count once.", "service", "outcome")
	serviceLeaving = gauge("pgo_service_removing_since_timestamp_seconds", "Since when a service that is no longer configured is being removed; absent for all others.", "service")
	workerState    = gauge("pgo_worker_state", "1 for the state that the service's worker process is in, and 0 for the others.", "service", "state")
	workerRestarts = counter("pgo_worker_restarts_total", "How often the worker has ended.", "service")
	workerLoop     = gauge("pgo_worker_crashloop", "Whether the worker ends again and again.", "service")
	workerTime     = gauge("pgo_worker_start_time_seconds", "When the worker process was started; absent while there is none.", "service")
)

// metrics has all of them, in the order of their declaration.
var metrics []metric

func gauge(name, help string, labels ...string) metric {
	return newMetric(metric{name, help, prometheus.GaugeValue, labels})
}

func counter(name, help string, labels ...string) metric {
	return newMetric(metric{name, help, prometheus.CounterValue, labels})
}

func newMetric(m metric) metric {
	metrics = append(metrics, m)
	return m
}

// collector makes the metrics from what is known at the moment of a scrape.
type collector struct{ *host }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range metrics {
		descs <- m.desc()
	}
}

// scrape is one scrape.
type scrape struct {
	out chan<- prometheus.Metric
	now time.Time
}

func (s scrape) put(m metric, value float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(m.desc(), m.kind, value, labels...)
}

func (s scrape) truth(m metric, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	s.put(m, value, labels...)
}

// moment puts a time, if there is one.
func (s scrape) moment(m metric, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.put(m, float64(at.Unix()), labels...)
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := scrape{out, time.Now()}
	s.put(buildInfo, 1, version.String())
	applied, bad := c.configuration.get()
	s.truth(configGood, bad == nil)
	s.moment(configTime, applied)
	if count := c.connections.Load(); count != nil {
		s.put(connections, float64((*count)()))
	}
	for _, leaving := range c.supervisor.removing() {
		s.moment(serviceLeaving, leaving.Since, leaving.Service)
	}
	for _, one := range c.supervisor.overview() {
		status := one.status(s.now)
		s.service(status, one.deploys)
		if status.Wanted != "" { // its worker has reported
			s.put(servicePorts, float64(len(one.report.GetPorts())), status.Name)
		}
		s.worker(status.Name, status.Worker)
	}
}

func (s scrape) service(of hoststat.Service, deploys tally) {
	name := of.Name
	for _, state := range hoststat.States() {
		s.truth(serviceState, state == of.State, name, string(state))
	}
	for _, outcome := range hoststat.Outcomes() {
		s.truth(serviceOutcome, outcome == of.Outcome, name, string(outcome))
		if outcome == hoststat.OutcomeDeployed || outcome.Bad() { // but not of a poll with nothing to deploy
			s.put(serviceDeploys, float64(deploys.counts[outcome]), name, string(outcome))
		}
	}
	if of.Wanted != "" {
		s.truth(serviceWanted, of.Wanted == hoststat.WantedUp, name)
		s.truth(serviceFrozen, of.Frozen != nil, name)
		s.put(serviceUnwell, float64(len(of.Unwell)), name)
	}
	if of.Head != "" {
		s.put(serviceHead, 1, name, of.Head)
		s.truth(serviceCurrent, of.Head == of.Deployed, name)
	}
	if of.Deployed != "" {
		s.put(serviceDeploy, 1, name, of.Deployed)
		s.moment(serviceTime, of.DeployedAt, name)
	}
	if of.Error != nil {
		s.moment(serviceError, of.Error.Since, name)
	}
}

func (s scrape) worker(service string, of hoststat.Worker) {
	for _, state := range hoststat.WorkerStates() {
		s.truth(workerState, state == of.State, service, string(state))
	}
	s.put(workerRestarts, float64(of.Restarts), service)
	s.truth(workerLoop, of.Crashloop, service)
	s.moment(workerTime, of.Since, service)
}

// CountConnections has the metrics show how many SSH connections are open.
func (s *Supervisor) CountConnections(count func() int) { s.host.connections.Store(&count) }

// registry returns a registry with all metrics of pgod.
func (h *host) registry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collector{h},
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// showMetrics prints the metrics in Prometheus' text format.
func (h *host) showMetrics(_ context.Context, session sshd.Command, _ target.Args) sshd.Exit {
	registry, err := h.registry()
	if err != nil {
		return sshd.Exit{Status: target.StatusFault, Message: err.Error()}
	}
	families, err := registry.Gather()
	if err != nil {
		return sshd.Exit{Status: target.StatusFault, Message: printable.Text(err.Error())}
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return sshd.Exit{Status: target.StatusFault, Message: err.Error()}
		}
	}
	return say(session, text.String())
}
