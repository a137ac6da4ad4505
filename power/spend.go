package power

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

const (
	leastRecords = 32   // fewer records of the loss do not show when it stopped falling
	leastCovered = 0.99 // of a time, for its joules to be those of all of it
	boltzmann    = 1.380649e-23
)

// Landauer returns k_B T ln 2: the least heat of erasing one bit at a temperature
// in kelvin, in J.
func Landauer(kelvin float64) float64 { return boltzmann * kelvin * math.Ln2 }

// A Spending is what a run got for its energy. Losses are in the unit of the
// loss, for each example; energies in J.
type Spending struct {
	Start, End thermo.Reading // the loss at both ends
	Removed    thermo.Reading // Start − End
	Stopped    bool           // the loss stopped falling
	StopStep   int64          // and at this step; the last when it has not
	From, To   float64        // between which Removed was removed, in seconds since 1970

	Total thermo.Reading // energy, from the first record to the last
	Fall  thermo.Reading // from the middle of Start until the loss stopped
	After thermo.Reading // from there to the last record
	Gaps  []Gap          // of all devices, between the first record and the last

	PerLoss thermo.Reading // Fall / Removed
	Bits    thermo.Reading // entropy that the parameters lost
	PerBit  thermo.Reading // Fall / Bits
}

// Spend divides the energy of the devices that a run ran on by what it got for it
// (docs/theory.md, T11).
//
// The loss has stopped falling where the mean of all that follows is best known
// (MSER: the least variance of what follows over its number; White, Simulation 69,
// 323, 1997), unless its second half is still lower than its first by three
// standard errors. The loss at the start is that of the first twentieth of the
// records until then (at least eight, at most 64), at their middle. A loss that has not stopped ends with the last
// tenth of its records, at their middle.
//
// The parameters lose Σ_l k_l/2 log₂(|θ_l|²/⟨|θ_l − θ̄_l|²⟩) bits: the first weights
// and the fluctuations after the loss has stopped, each taken as an isotropic Gaussian
// in every layer, which has the most entropy for its spread. What is missing for a
// reading is in its Invalid.
func Spend(h *History, devices []Trace) (*Spending, error) {
	n := len(h.Loss)
	if n < leastRecords || len(h.Time) != n || len(h.Step) != n {
		return nil, fmt.Errorf("spending of a run: %d losses, %d times and %d steps; at least %d of each are needed", n, len(h.Time), len(h.Step), leastRecords)
	}
	s := &Spending{}
	stop := s.settle(h)
	first := min(max(8, stop/20), 64)
	s.Start = level(h.Loss[:first])
	s.Removed = thermo.Reading{Name: "loss removed", Unit: "energy", Value: s.Start.Value - s.End.Value, StdErr: math.Hypot(s.Start.StdErr, s.End.StdErr), ESS: min(s.Start.ESS, s.End.ESS)}
	for _, end := range []thermo.Reading{s.Start, s.End} {
		if !end.Valid() {
			s.Removed.Invalid = end.Invalid
		}
	}
	if s.From, s.To = middle(h.Time[:first]), h.Time[stop]; !s.Stopped {
		s.To = middle(h.Time[n-lastTenth(n):])
	}
	s.To = max(s.From, s.To) // a loss that never fell stops at once
	var err error
	if s.Total, s.Gaps, err = spent("energy", devices, h.Time[0], h.Time[n-1]); err != nil {
		return nil, err
	}
	if s.Fall, _, err = spent("energy until the loss stopped falling", devices, s.From, s.To); err != nil {
		return nil, err
	}
	if s.After, _, err = spent("energy after the loss stopped falling", devices, h.Time[stop], h.Time[n-1]); err != nil {
		return nil, err
	}
	s.PerLoss = per("energy per loss removed", "J/energy", s.Fall, s.Removed, "no loss was removed")
	s.Bits = s.bits(h)
	s.PerBit = per("energy per bit", "J/bit", s.Fall, s.Bits, "no entropy was removed")
	return s, nil
}

// settle finds where the loss stopped falling, and returns the index of that
// record, the last if it has not.
func (s *Spending) settle(h *History) int {
	n := len(h.Loss)
	stop := settled(h.Loss)
	var tail, early, late thermo.Series
	for i, x := range h.Loss[stop:] {
		tail.Add(x)
		if 2*i < n-stop {
			early.Add(x)
		} else {
			late.Add(x)
		}
	}
	s.End = tail.Reading("loss at the end", "", "energy")
	a, b := early.Reading("", "", ""), late.Reading("", "", "")
	s.Stopped = s.End.Valid() && stop < n*3/4 && a.Value-b.Value <= 3*math.Hypot(a.StdErr, b.StdErr)
	if !s.Stopped {
		stop = n - 1
		s.End = level(h.Loss[n-lastTenth(n):])
		s.End.Name = "loss at the end"
	}
	s.StopStep = h.Step[stop]
	return stop
}

func lastTenth(n int) int { return max(8, n/10) }

func middle(times []float64) float64 {
	sum := 0.0
	for _, t := range times {
		sum += t - times[0]
	}
	return times[0] + sum/float64(len(times))
}

// settled returns the index from which the mean of what follows is best known,
// leaving at least ten.
func settled(x []float64) int {
	best, at := math.Inf(1), 0
	var mean, m2 float64
	for i := len(x) - 1; i >= 0; i-- {
		n := float64(len(x) - i)
		d := x[i] - mean
		mean += d / n
		m2 += d * (x[i] - mean)
		if score := m2 / n / n; n >= 10 && score < best {
			best, at = score, i
		}
	}
	return at
}

// level returns the mean of a series that may drift: its error is that of the
// residuals about a straight line.
func level(x []float64) thermo.Reading {
	n := float64(len(x))
	mean, slope := 0.0, 0.0
	for i, v := range x {
		mean += v / n
		slope += v * (float64(i) - (n-1)/2)
	}
	slope /= n * (n*n - 1) / 12
	var residuals thermo.Series
	for i, v := range x {
		residuals.Add(v - slope*(float64(i)-(n-1)/2))
	}
	r := residuals.Reading("loss at the start", "", "energy")
	r.Value = mean
	r.StdErr *= math.Sqrt((n - 1) / (n - 2))
	return r
}

// spent adds the energy of all devices from one time to another.
func spent(name string, devices []Trace, from, to float64) (thermo.Reading, []Gap, error) {
	var all Use
	for i := range devices {
		u, err := devices[i].Energy(from, to)
		if err != nil {
			return thermo.Reading{}, nil, err
		}
		all = all.Add(u)
	}
	r := thermo.Reading{Name: name, Unit: "J", Value: all.Joules, StdErr: all.StdErr}
	if covered := all.Seconds / (to - from) / float64(len(devices)); to > from && covered < leastCovered {
		r.Invalid = fmt.Sprintf("power was read during %.1f %% of the time: the energy is at least this", 100*covered)
	}
	return r, all.Gaps, nil
}

// per divides energy by what was got for it.
func per(name, unit string, joules, got thermo.Reading, nothing string) thermo.Reading {
	r := thermo.Reading{Name: name, Unit: unit, Value: math.NaN(), StdErr: math.NaN(), ESS: got.ESS, DoF: got.DoF}
	switch {
	case !got.Valid():
		r.Invalid = got.Invalid
		return r
	case !(got.Value > 3*got.StdErr):
		r.Invalid = nothing + ": " + thermo.FormatError(got.Value, got.StdErr)
		return r
	case !joules.Valid():
		r.Invalid = joules.Invalid
	}
	r.Value = joules.Value / got.Value
	r.StdErr = math.Hypot(joules.StdErr/got.Value, r.Value*got.StdErr/got.Value)
	return r
}

// bits returns the entropy that the parameters lost.
func (s *Spending) bits(h *History) thermo.Reading {
	r := thermo.Reading{Name: "entropy lost by the parameters", Unit: "bit", Value: math.NaN(), StdErr: math.NaN()}
	if len(h.Layers) == 0 {
		r.Invalid = "the run recorded no layers (parameters, weight_norm and spread_norm2 of each are needed)"
		return r
	}
	if !s.Stopped {
		r.Invalid = "the loss has not stopped falling: the weights drift, and their spread says nothing of a state"
		return r
	}
	last := h.Step[len(h.Step)-1]
	// θ̄ still holds weights of before the stop in the first half of what follows.
	var lost, spread, first, ess float64
	for _, l := range h.Layers {
		switch {
		case l.Parameters == 0 || l.FirstNorm2 == 0 || len(l.SpreadNorm2) == 0:
			r.Invalid = fmt.Sprintf("the run did not record parameters, weight_norm and spread_norm2 of layer %q", l.Name)
			return r
		case 10*(l.FirstStep-h.Step[0]) > s.StopStep-h.Step[0]:
			r.Invalid = fmt.Sprintf("the first weights recorded of layer %q are those of step %d", l.Name, l.FirstStep)
			return r
		}
		state := l.state(s.StopStep + (last-s.StopStep)/2)
		if !state.Valid() {
			r.Invalid = fmt.Sprintf("spread of layer %q: %s", l.Name, state.Invalid)
			return r
		}
		lost += l.Parameters / 2 * math.Log2(l.FirstNorm2/state.Value)
		spread += l.Parameters / 2 * state.StdErr / state.Value / math.Ln2 // layers fluctuate together
		first += l.Parameters / 2 / (math.Ln2 * math.Ln2)                  // |θ|² is one draw of χ²
		if ess == 0 || state.ESS < ess {
			ess = state.ESS
		}
	}
	r.Value, r.StdErr, r.ESS = lost, math.Hypot(spread, math.Sqrt(first)), ess
	return r
}

// state returns the spread of a layer from a step on. Weights wander slowly: where
// its readings are worth fewer than ten independent ones, the error is at least
// half of the range that they went through.
func (l *LayerHistory) state(from int64) thermo.Reading {
	var after thermo.Series
	low, high := math.Inf(1), math.Inf(-1)
	for _, x := range l.from(from) {
		after.Add(x)
		low, high = min(low, x), max(high, x)
	}
	r := after.Reading("spread", l.Name, "1")
	switch {
	case r.Valid() && !(r.Value > 0):
		r.Invalid = "the weights do not fluctuate, and their entropy has no limit"
	case !r.Valid() && r.ESS > 0 && low > 0 && after.N() >= leastRecords:
		r.StdErr, r.Invalid = max(r.StdErr, (high-low)/2), ""
	}
	return r
}
