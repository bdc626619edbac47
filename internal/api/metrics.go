package api

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cellblock/cellblock/executor"
)

// metrics are the service's figures for Prometheus. No label has a value that a
// caller chooses.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	executions *prometheus.CounterVec
	seconds    prometheus.Histogram
	starts     prometheus.Histogram
	problems   *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_http_requests_total", Help: "Requests by method and class of status.",
		}, []string{"method", "status"}),
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_executions_total", Help: "Executions by verdict.",
		}, []string{"verdict"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cellblock_execution_seconds", Help: "Time of executions by the clock.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}),
		starts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cellblock_session_start_seconds", Help: "Time from an admitted session to a Python that is ready in its cell.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 12),
		}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cellblock_problems_total", Help: "Answers that were problems, by kind.",
		}, []string{"kind"}),
	}
	gauge := func(name, help string, f func(k *keeper) float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.keeper.mu.Lock()
			defer s.keeper.mu.Unlock()
			return f(s.keeper)
		})
	}
	m.registry.MustRegister(
		m.requests, m.executions, m.seconds, m.starts, m.problems,
		gauge("cellblock_sessions", "Sessions that there are.", func(k *keeper) float64 { return float64(k.sessions) }),
		gauge("cellblock_sessions_memory_bytes", "Sum of the memory limits of sessions.", func(k *keeper) float64 { return float64(k.memory) }),
		gauge("cellblock_sessions_starting", "Cells that are being built.", func(k *keeper) float64 { return float64(len(k.starting)) }),
		gauge("cellblock_executions_running", "Executions under way or waiting.", func(k *keeper) (n float64) {
			for _, o := range k.owners {
				n += float64(o.running)
			}
			return n
		}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	for _, v := range []executor.Verdict{executor.VerdictOK, executor.VerdictError} {
		m.executions.WithLabelValues(string(v))
	}
	return m
}
