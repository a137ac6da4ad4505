package power

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/run"
)

// A History is what a run recorded of its loss and its weights, for Spend.
type History struct {
	Step   []int64
	Time   []float64 // of each record, in seconds since 1970
	Loss   []float64 // of the minibatch at each record
	Nats   bool      // the loss is known to be a cross entropy, in nats
	Layers []LayerHistory
}

// A LayerHistory is how the weights of one layer moved.
type LayerHistory struct {
	Name        string
	Parameters  float64 // 0 when it was not recorded
	FirstStep   int64   // of FirstNorm2
	FirstNorm2  float64 // |θ|² of the first record that has it, or 0
	Steps       []int64
	SpreadNorm2 []float64 // |θ − θ̄|² at each step
}

// ReadHistory reads the records of the run in dir. It is an error when a loss is
// not finite, and when fewer than leastRecords have one.
func ReadHistory(dir string) (*History, error) {
	h := &History{}
	var model struct {
		Network struct{ Loss string }
	}
	if err := run.Model(dir, &model); err != nil && errors.Is(err, run.ErrNotRun) {
		return nil, err
	}
	h.Nats = model.Network.Loss == "ce"
	layers := map[string]int{}
	for record, err := range run.Records(dir) {
		var damage *run.LineError
		var torn *run.TornError
		if errors.As(err, &damage) || errors.As(err, &torn) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the loss of %s: %w", dir, err)
		}
		switch record.Kind {
		case run.KindStep:
			loss, ok := record.Values["loss"]
			if !ok {
				continue
			}
			if math.IsNaN(loss) || math.IsInf(loss, 0) {
				return nil, fmt.Errorf("reading the loss of %s: it is %g at step %d: the run diverged", dir, loss, record.Step)
			}
			if n := len(h.Time); !(math.Abs(record.Time) < 1e12) || n > 0 && record.Time < h.Time[n-1] {
				return nil, fmt.Errorf("reading the loss of %s: step %d: time %.3f is earlier than that of the record before", dir, record.Step, record.Time)
			}
			h.Step, h.Time, h.Loss = append(h.Step, record.Step), append(h.Time, record.Time), append(h.Loss, loss)
		case run.KindLayer:
			i, ok := layers[record.Layer]
			if !ok {
				i = len(h.Layers)
				layers[record.Layer] = i
				h.Layers = append(h.Layers, LayerHistory{Name: record.Layer})
			}
			h.Layers[i].add(record)
		}
	}
	if len(h.Loss) < leastRecords {
		return nil, fmt.Errorf("reading the loss of %s: %d records have one, at least %d are needed", dir, len(h.Loss), leastRecords)
	}
	return h, nil
}

func (l *LayerHistory) add(r run.Record) {
	if k, ok := r.Values["parameters"]; ok && k > 0 && !math.IsInf(k, 0) {
		l.Parameters = k
	}
	if w, ok := r.Values["weight_norm"]; ok && l.FirstNorm2 == 0 && w > 0 && !math.IsInf(w*w, 0) {
		l.FirstStep, l.FirstNorm2 = r.Step, w*w
	}
	if s, ok := r.Values["spread_norm2"]; ok {
		l.Steps, l.SpreadNorm2 = append(l.Steps, r.Step), append(l.SpreadNorm2, s)
	}
}

// from returns the spread from a step on.
func (l *LayerHistory) from(step int64) []float64 {
	i, _ := slices.BinarySearch(l.Steps, step)
	return l.SpreadNorm2[i:]
}
