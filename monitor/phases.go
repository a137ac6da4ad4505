package monitor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// A History is a run told as phases with transitions between them.
type History struct {
	Curves      []training.Curve
	Phases      []Phase
	Transitions []PhaseTransition // the i-th is between phases i and i+1
	// Training is the transition from the initial weights to the last phase. Not
	// Told says why it is missing.
	Training *thermo.Transition
	NotTold  string
	Problems []string // with the records
}

// A Phase is a part of a run in which nothing changed suddenly.
type Phase struct {
	First, Last int64
	Report      Report         // of its last records
	Entropy     thermo.Reading // in nats, of normals with the layers' spreads about θ̄
	Layers      []PhaseLayer   // whose spread is recorded
}

// A PhaseLayer is one layer in a phase.
type PhaseLayer struct {
	Name        string
	Temperature thermo.Reading
	Entropy     thermo.Reading
	Heat        thermo.Reading // T ΔS that it took in since the phase before; not valid in the first
}

// A PhaseTransition is a sudden change of a run.
type PhaseTransition struct {
	First, Last int64
	Kind        string            // of the most significant change: "first-order-like" or "continuous"
	Driven      string            // what was changed from outside at that moment; empty when nothing was
	P           float64           // least of its changes', times the number of curves looked at
	Changes     []training.Change // the most significant first
	States      thermo.Transition // between the phases: T = ΔU/ΔS and the latent heat T ΔS
}

// Series of a whole run that do not order its states: what was set from outside,
// and what the thermometers read better.
var noOrder = []string{"learning_rate", "momentum", "beta1", "batch", "power", "processes", "displacement",
	"gradient_norm2", "update_norm2", "weight_decay", "epoch", "seconds"}

// What is set from outside; when it changes by more than rateJump at a
// transition, that was driven.
var drives = []string{"learning_rate", "batch", "momentum", "weight_decay"}

// ReadHistory finds the phases of the run in dir and the transitions between
// them: sudden changes ([training.Changes]) of the energy, the temperature, the
// local temperatures, the heat capacity ⟨δE²⟩/T² and of every order parameter,
// which is whatever else the run records of the whole system (an accuracy, a
// held-out loss) and its weight norm. Changes that overlap are one transition.
func ReadHistory(ctx context.Context, dir string) (*History, error) {
	h, err := ReadTransitions(ctx, dir)
	if err != nil {
		return nil, err
	}
	return h, h.readPhases(ctx, dir)
}

// ReadTransitions is ReadHistory without what only all the records say: the phases,
// the transition of the training and the states of the others. It reads the index.
func ReadTransitions(ctx context.Context, dir string) (*History, error) {
	index, warning, err := run.OpenIndex(dir)
	if err != nil {
		return nil, err
	}
	defer index.Close()
	curves, err := readCurves(ctx, index)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	changes, err := training.Changes(curves)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	h := &History{Curves: curves, Transitions: merged(curves, changes)}
	if warning != "" {
		h.Problems = append(h.Problems, warning)
	}
	for i := range h.Transitions {
		if h.Transitions[i].Driven, err = driven(index, h.Transitions[i]); err != nil {
			return nil, fmt.Errorf("run %s: %w", dir, err)
		}
	}
	return h, nil
}

// merged joins changes that overlap.
func merged(curves []training.Curve, changes []training.Change) []PhaseTransition {
	var list []PhaseTransition
	for _, c := range changes {
		if curves[c.Curve].Name == virialTemperature && c.Before.Value <= 0 {
			continue // a system on its way has no temperature
		}
		first, last := int64(c.First), int64(math.Ceil(c.Last))
		if n := len(list); n > 0 && first <= list[n-1].Last {
			list[n-1].Last = max(list[n-1].Last, last)
			list[n-1].Changes = append(list[n-1].Changes, c)
			continue
		}
		list = append(list, PhaseTransition{First: first, Last: last, Changes: []training.Change{c}})
	}
	for i := range list {
		t := &list[i]
		slices.SortStableFunc(t.Changes, func(a, b training.Change) int {
			// The whole system (layer "") says more than one layer.
			wholeFirst := min(len(curves[a.Curve].Layer), 1) - min(len(curves[b.Curve].Layer), 1)
			return cmp.Or(wholeFirst, cmp.Compare(a.P, b.P))
		})
		t.Kind, t.P = t.Changes[0].Kind(), t.Changes[0].P
		for _, c := range t.Changes {
			t.P = min(t.P, c.P)
		}
	}
	return list
}

// driven says which setting was changed at a transition, between its first step
// and a few records before, in which the change is not yet felt.
func driven(index *run.Index, t PhaseTransition) (string, error) {
	for _, name := range drives {
		points, err := index.Range("", name, math.MinInt64, t.Last)
		if err != nil {
			return "", err
		}
		for i := len(points) - 1; i > 0 && (points[i].Step >= t.First || i > len(points)-1-lastFew); i-- {
			before, now := points[i-1].Value, points[i].Value
			if math.Abs(math.Log(now/before)) > rateJump {
				return fmt.Sprintf("%s %.4g → %.4g at step %d", strings.ReplaceAll(name, "_", " "), before, now, points[i].Step), nil
			}
		}
	}
	return "", nil
}

// readPhases reads every phase by a monitor of its own, and compares them.
func (h *History) readPhases(ctx context.Context, dir string) error {
	m := New()
	start := New() // of the first records
	var phase Phase
	end := func() {
		phase.Report = m.Report()
		phase.readEntropy(m.window())
		h.Phases = append(h.Phases, phase)
	}
	began, i := false, 0
	for r, err := range run.Records(dir) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			continue // the index has said so
		case r.Kind != run.KindStep && r.Kind != run.KindLayer:
			continue
		}
		for began && i < len(h.Transitions) && r.Step >= h.Transitions[i].Last {
			end()
			next := New()
			next.parameters = m.parameters // once a run is enough
			m, began = next, false
			i++
		}
		if i < len(h.Transitions) && r.Step > h.Transitions[i].First && began {
			continue
		}
		if !began {
			phase, began = Phase{First: r.Step}, true
		}
		if start.total <= lastFew {
			start.Add(r)
		}
		m.Add(r)
		phase.Last = r.Step
	}
	if !began {
		return fmt.Errorf("run %s: it has no records of steps", dir)
	}
	end()
	for i := range h.Transitions {
		if i+1 >= len(h.Phases) { // nothing was recorded after it
			break
		}
		a, b := &h.Phases[i], &h.Phases[i+1]
		b.takeHeat(a)
		t, err := thermo.NewTransition(a.state(i), b.state(i+1))
		if err != nil {
			return err
		}
		h.Transitions[i].States = t
	}
	return h.train(start)
}

// normalEntropy is that of a layer's k parameters as independent normals whose
// squares about their mean add up to squares.
func normalEntropy(layer string, k int, squares thermo.Reading) thermo.Reading {
	r := thermo.Reading{Name: "entropy", Group: layer, Unit: "nat", StdErr: math.NaN(), Invalid: squares.Invalid}
	r.Value = float64(k) / 2 * math.Log(2*math.Pi*math.E*squares.Value/float64(k))
	r.StdErr = float64(k) / 2 * squares.StdErr / squares.Value
	if r.ESS, r.DoF = squares.ESS, squares.DoF; r.Valid() && !(squares.Value > 0) {
		r.Invalid = "it does not move: the entropy of a single point is −∞"
	}
	return r
}

// readEntropy reads the entropy of the whole and of its layers, from records of
// their spread about θ̄.
func (p *Phase) readEntropy(w []sample) {
	p.Entropy = thermo.Reading{Name: "entropy", Unit: "nat", Value: math.NaN(), StdErr: math.NaN(), Invalid: "|θ−θ̄|² or the numbers of parameters are not recorded"}
	total := thermo.Reading{Name: "entropy", Unit: "nat"}
	for _, l := range p.Report.Layers {
		squares := column(w, l.Name, "spread_norm2")
		if len(squares) == 0 || l.Parameters == 0 {
			continue
		}
		s := normalEntropy(l.Name, l.Parameters, mean("spread", l.Name, "θ²", squares))
		p.Layers = append(p.Layers, PhaseLayer{Name: l.Name, Temperature: l.Temperature, Entropy: s,
			Heat: thermo.Reading{Name: "heat", Group: l.Name, Unit: "energy", Value: math.NaN(), StdErr: math.NaN(), Invalid: "there is no phase before"}})
		// Layers move together: their errors add up.
		total.Value, total.StdErr = total.Value+s.Value, total.StdErr+s.StdErr
		if total.ESS == 0 || s.ESS < total.ESS {
			total.ESS, total.DoF = s.ESS, s.DoF
		}
		if !s.Valid() && total.Valid() {
			total.Invalid = l.Name + ": " + s.Invalid
		}
	}
	if len(p.Layers) > 0 {
		p.Entropy = total
	}
}

func (p *Phase) state(i int) thermo.State {
	return thermo.State{Name: fmt.Sprintf("phase %d", i+1), Energy: p.Report.Loss, Entropy: p.Entropy,
		Resolution: "normals with each layer's spread about its running mean"}
}

// takeHeat reads the heat that every layer took in since the phase before: the
// mean of its two temperatures times its change of entropy.
func (p *Phase) takeHeat(before *Phase) {
	for i := range p.Layers {
		now := &p.Layers[i]
		j := slices.IndexFunc(before.Layers, func(l PhaseLayer) bool { return l.Name == now.Name })
		if j < 0 {
			continue
		}
		old := before.Layers[j]
		t := (now.Temperature.Value + old.Temperature.Value) / 2
		entropy := now.Entropy.Value - old.Entropy.Value
		now.Heat.Value, now.Heat.Invalid = t*entropy, ""
		now.Heat.StdErr = math.Hypot(entropy*math.Hypot(now.Temperature.StdErr, old.Temperature.StdErr)/2, t*math.Hypot(now.Entropy.StdErr, old.Entropy.StdErr))
		now.Heat.ESS = min(now.Temperature.ESS, old.Temperature.ESS, now.Entropy.ESS, old.Entropy.ESS)
		for _, r := range []thermo.Reading{now.Temperature, old.Temperature, now.Entropy, old.Entropy} {
			if !r.Valid() && now.Heat.Valid() {
				now.Heat.Invalid = r.Name + ": " + r.Invalid
			}
		}
	}
}

// train makes the transition from the initial weights to the last phase. The
// initial state is that of normals about zero with the layers' mean squares at
// the first record; its energy has the noise of the first minibatches.
func (h *History) train(start *Monitor) error {
	w := start.samples
	switch {
	case len(w) < lastFew:
		h.NotTold = fmt.Sprintf("it has %d records; at least %d are needed", len(w), lastFew)
		return nil
	case w[0].step > w[1].step-w[0].step:
		h.NotTold = fmt.Sprintf("the records begin at step %d, after the initial weights", w[0].step)
		return nil
	}
	losses := column(w, "", "loss")
	if len(losses) < lastFew {
		h.NotTold = "the loss is not recorded"
		return nil
	}
	a := thermo.State{Name: "initial", Resolution: "normals about zero with each layer's mean square weight"}
	a.Energy = thermo.Reading{Name: "energy", Unit: "energy", Value: losses[0], ESS: 1, DoF: float64(lastFew - 2)}
	squares := 0.0
	for i := 2; i < lastFew; i++ { // second differences leave out the descent
		squares += math.Pow(losses[i]-2*losses[i-1]+losses[i-2], 2) / 6
	}
	a.Energy.StdErr = math.Sqrt(squares / float64(lastFew-2))
	a.Entropy = thermo.Reading{Name: "entropy", Unit: "nat"}
	last := h.Phases[len(h.Phases)-1]
	variance := 0.0
	for _, l := range last.Layers {
		norm, ok := w[0].get(l.Name, "weight_norm")
		if !ok {
			h.NotTold = fmt.Sprintf("layer %s: the weight norm is not recorded", l.Name)
			return nil
		}
		k := float64(start.parameters[l.Name])
		s := normalEntropy(l.Name, int(k), thermo.Reading{Value: norm * norm})
		if !s.Valid() {
			h.NotTold = fmt.Sprintf("layer %s begins at zero, which is a single point: its entropy is −∞", l.Name)
			return nil
		}
		a.Entropy.Value += s.Value
		variance += k / 2
	}
	if a.Entropy.StdErr = math.Sqrt(variance); variance == 0 {
		h.NotTold = "the spread of the weights is not recorded"
		return nil
	}
	t, err := thermo.NewTransition(a, last.state(len(h.Phases)-1))
	if err != nil {
		return err
	}
	h.Training = &t
	return nil
}
