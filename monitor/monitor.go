// Package monitor reads the records of a training run while they are written:
// the temperature of every layer, whether the run is in equilibrium, and what is
// wrong with it (docs/findings.md).
package monitor

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/run"
)

// The window of records that readings are of: the last half of those there are,
// at most mostSamples. A learning rate that jumps by more than rateJump from one
// record to the next begins a new one: the state before it was another. What
// changes about as much in the records beside it is no jump but a schedule.
const (
	mostSamples = 256
	rateJump    = 0.1
)

// A sample is what was recorded of one step.
type sample struct {
	step   int64
	whole  map[string]float64
	layers map[string]map[string]float64
}

// A Monitor takes in the records of one run in the order in which they were
// written. Its memory does not grow with their number.
type Monitor struct {
	samples    []sample // at most 2·mostSamples, the last ones
	total      int      // samples ever, those that a resume took back not counted
	names      []string // of the layers, in the order they were met
	parameters map[string]int
	heaviest   map[string]float64 // weight norm that a layer had at most
	problems   []string
	time       float64 // of the last record
	ended      bool
}

// New returns a monitor that has seen nothing.
func New() *Monitor {
	return &Monitor{parameters: map[string]int{}, heaviest: map[string]float64{}}
}

// Add takes in one record. What is odd about the records themselves goes to
// Report.Problems: a clock that was set back, steps that go back without a
// resume, as two writers at once leave them.
func (m *Monitor) Add(r run.Record) {
	if back := m.time - r.Time; back > 5 {
		m.problem("step %d: the clock went back by %.0f s", r.Step, back)
	}
	m.time = r.Time
	switch r.Kind {
	case run.KindResume:
		before := len(m.samples)
		m.samples = slices.DeleteFunc(m.samples, func(s sample) bool { return s.step > r.Step })
		if m.total -= before - len(m.samples); len(m.samples) == 0 {
			m.total = 0
		}
		m.ended = false
	case run.KindEnd:
		m.ended = true
	case run.KindStep, run.KindLayer:
		m.add(r)
	}
}

func (m *Monitor) add(r run.Record) {
	if k, ok := r.Values["parameters"]; ok && r.Kind == run.KindLayer && k >= 1 && k < math.MaxInt32*1e6 {
		m.parameters[r.Layer] = int(k)
		if len(r.Values) == 1 {
			return
		}
	}
	n := len(m.samples)
	if n == 0 || m.samples[n-1].step != r.Step {
		if n > 0 && m.samples[n-1].step > r.Step {
			m.problem("step %d comes after step %d without a resume: two programs may be writing to this run", r.Step, m.samples[n-1].step)
		}
		if n == 2*mostSamples {
			m.samples = append(m.samples[:0], m.samples[mostSamples:]...)
		}
		m.samples = append(m.samples, sample{step: r.Step, layers: map[string]map[string]float64{}})
		m.total++
	}
	s := &m.samples[len(m.samples)-1]
	if r.Kind == run.KindStep {
		s.whole = merge(s.whole, r.Values)
		return
	}
	if s.layers[r.Layer] = merge(s.layers[r.Layer], r.Values); !slices.Contains(m.names, r.Layer) {
		m.names = append(m.names, r.Layer)
	}
	m.heaviest[r.Layer] = max(m.heaviest[r.Layer], r.Values["weight_norm"])
}

func merge(into, from map[string]float64) map[string]float64 {
	if into == nil {
		return from
	}
	maps.Copy(into, from)
	return into
}

// Damaged takes in a line that is not a record.
func (m *Monitor) Damaged(err error) { m.problem("%v", err) }

const mostProblems = 20

func (m *Monitor) problem(format string, args ...any) {
	switch text := fmt.Sprintf(format, args...); {
	case len(m.problems) < mostProblems:
		m.problems = append(m.problems, text)
	case len(m.problems) == mostProblems:
		m.problems = append(m.problems, "and more")
	}
}

// window returns the samples that the readings are of.
func (m *Monitor) window() []sample {
	w := m.samples[len(m.samples)-min(len(m.samples), max(1, m.total/2), mostSamples):]
	for i := len(w) - 1; i > 0; i-- {
		if c := change(w, i); c > rateJump && c > 3*max(change(w, i-1), change(w, i+1)) {
			return w[i:]
		}
	}
	return w
}

// change is how much the logarithm of the learning rate changes to sample i, 0
// where it is not known.
func change(w []sample, i int) float64 {
	if i < 1 || i >= len(w) || !(rate(w[i-1]) > 0) || !(rate(w[i]) > 0) {
		return 0
	}
	return math.Abs(math.Log(rate(w[i]) / rate(w[i-1])))
}

func rate(s sample) float64 { return s.whole["learning_rate"] }

// get returns a value of the layer, or (layer "") of the whole system.
func (s sample) get(layer, name string) (float64, bool) {
	values := s.whole
	if layer != "" {
		values = s.layers[layer]
	}
	x, ok := values[name]
	return x, ok
}

// column returns the values of one name in the samples that have it.
func column(w []sample, layer, name string) []float64 {
	var list []float64
	for _, s := range w {
		if x, ok := s.get(layer, name); ok {
			list = append(list, x)
		}
	}
	return list
}
