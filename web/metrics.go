package web

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counters count what the server did.
type counters struct{ requests, records, bytes, refused atomic.Int64 }

// metrics serves the counters, and the last step and energy of every run, to
// Prometheus.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), (*collector)(s))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

type collector Server

var (
	requests = prometheus.NewDesc("kelvin_http_requests_total", "Requests answered.", nil, nil)
	records  = prometheus.NewDesc("kelvin_ingested_records_total", "Records taken from writers elsewhere.", nil, nil)
	taken    = prometheus.NewDesc("kelvin_ingested_bytes_total", "Bytes of records taken from writers elsewhere.", nil, nil)
	refused  = prometheus.NewDesc("kelvin_refused_batches_total", "Batches of records that were refused.", nil, nil)
	runs     = prometheus.NewDesc("kelvin_runs", "Runs by state.", []string{"state"}, nil)
	step     = prometheus.NewDesc("kelvin_run_step", "Step of the last record of a run.", []string{"run"}, nil)
	loss     = prometheus.NewDesc("kelvin_run_energy", "Energy (loss) of a run that was recorded last.", []string{"run"}, nil)
	heat     = prometheus.NewDesc("kelvin_run_temperature", "Temperature of a run over the last tenth of its steps, in energy per nat.", []string{"run"}, nil)
	seen     = prometheus.NewDesc("kelvin_run_time_seconds", "Time of the last record of a run, since 1970.", []string{"run"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requests, records, taken, refused, runs, step, loss, heat, seen} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n *atomic.Int64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n.Load()))
	}
	gauge := func(d *prometheus.Desc, x float64, label string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, label)
	}
	counter(requests, &c.count.requests)
	counter(records, &c.count.records)
	counter(taken, &c.count.bytes)
	counter(refused, &c.count.refused)
	states := map[string]float64{"running": 0, "finished": 0, "stopped": 0}
	for _, item := range c.store.list() {
		states[item.State]++
		gauge(step, float64(item.Step), item.ID)
		gauge(seen, item.Time, item.ID)
		if item.Temperature != nil {
			gauge(heat, *item.Temperature, item.ID)
		}
		if item.Loss != nil {
			gauge(loss, *item.Loss, item.ID)
		}
	}
	for state, n := range states {
		gauge(runs, n, state)
	}
}
