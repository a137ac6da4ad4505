package monitor

import (
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Report is what the last records of a run say. Readings without records to
// make them of are not valid and say which are missing.
type Report struct {
	Step         int64 // last seen
	From         int64 // first step of the window
	Samples      int   // steps with records in the window
	Ended        bool
	Loss         thermo.Reading // mean over the window
	LearningRate float64        // NaN when not recorded
	Power        float64        // watts, likewise
	Temperature  thermo.Reading // global, by the virial thermometer
	Kinetic      thermo.Reading // of gradient descent with or without momentum
	Stationarity thermo.Reading // as [Layer] has it
	Zeroth       thermo.Zeroth  // of the two thermometers
	Layers       []Layer
	Findings     []thermo.Finding // empty when nothing was found
	Problems     []string         // with the records themselves
}

// A Layer is one layer of a report.
type Layer struct {
	Name            string
	Parameters      int            // 0 when not recorded
	Temperature     thermo.Reading // by the virial thermometer
	Stationarity    thermo.Reading // 1 − (1−ρ)(1−µ)/(1+µ): 1 when stationary, 0 of a random walk, negative of a drift
	Overshoot       thermo.Reading // −⟨Δ·(θ−θ̄)⟩/⟨|θ−θ̄|²⟩: 1 when a step carries past the mean, 2 at the edge of stability
	EnergyIn        thermo.Reading
	Efficiency      thermo.Reading
	NoiseScale      thermo.Reading // batch at which gradient and noise are alike, in examples
	Dead, Saturated float64        // fractions of its units, NaN when not recorded
}

// Report reads the window.
func (m *Monitor) Report() Report {
	w := m.window()
	r := Report{Samples: len(w), Ended: m.ended, Findings: []thermo.Finding{}, Problems: m.problems}
	r.LearningRate, r.Power = last(w, "", "learning_rate"), last(w, "", "power")
	loss := column(w, "", "loss")
	r.Loss = mean("loss", "", "energy", loss)
	if len(w) > 0 {
		r.From, r.Step = w[0].step, w[len(w)-1].step
	}
	m.readMotion(w, &r)
	for _, name := range m.names {
		if l, ok := m.layer(w, name); ok {
			r.Layers = append(r.Layers, l)
		}
	}
	m.readLayers(w, &r)
	r.Findings = append(r.Findings, m.findings(w, &r)...)
	return r
}

func (m *Monitor) layer(w []sample, name string) (Layer, bool) {
	if !slices.ContainsFunc(w, func(s sample) bool { return s.layers[name] != nil }) {
		return Layer{}, false
	}
	l := Layer{Name: name, Parameters: m.parameters[name], Dead: last(w, name, "dead"), Saturated: last(w, name, "saturated")}
	l.EnergyIn = mean("energy in", name, "1", column(w, name, "energy_in"))
	var in, out, overlap, spread thermo.Series
	for _, s := range w {
		x, has := s.get(name, "energy_in")
		if y, also := s.get(name, "energy_out"); has && also {
			in.Add(x)
			out.Add(y)
		}
		x, has = s.get(name, "centred_update")
		if y, also := s.get(name, "spread_norm2"); has && also {
			overlap.Add(-x)
			spread.Add(y)
		}
	}
	l.Efficiency = thermo.Ratio("efficiency", name, "1", &out, &in)
	l.Efficiency.Value = 1 - l.Efficiency.Value
	l.Overshoot = thermo.Ratio("overshoot", name, "1", &overlap, &spread)
	l.NoiseScale = m.noise(w, name)
	return l, true
}

// noise reads the gradient-noise scale of a layer.
func (m *Monitor) noise(w []sample, name string) thermo.Reading {
	none := thermo.Reading{Name: "gradient-noise scale", Group: name, Unit: "examples", Value: math.NaN(), StdErr: math.NaN(), Invalid: "gradients of single examples are not recorded"}
	g, err := thermo.NewGradientNoise([]thermo.Group{{Name: name, Size: 1}})
	if err != nil {
		return none
	}
	added := false
	for _, s := range w {
		each, ok1 := s.get(name, "example_gradient_norm2")
		square, ok2 := s.get(name, "gradient_norm2")
		if n := math.Round(s.whole["batch"]); ok1 && ok2 && n >= 2 && n < 1e9 {
			added = g.Add(int(n), []float64{n * each}, []float64{square}) == nil || added
		}
	}
	if !added {
		return none
	}
	return g.Scales()[0]
}

// readMotion reads the thermometers of the whole system.
func (m *Monitor) readMotion(w []sample, r *Report) {
	missing := func(name, unit, what string) thermo.Reading {
		return thermo.Reading{Name: name, Unit: unit, Value: math.NaN(), StdErr: math.NaN(), Invalid: what + " not recorded"}
	}
	r.Temperature = missing("virial", "energy/nat", "virials or the numbers of parameters are")
	r.Kinetic = missing("kinetic", "energy/nat", "updates of gradient descent, with their learning rate and momentum, are")
	r.Stationarity = missing("stationarity", "1", "updates and their overlaps with θ−θ̄ are")
	names := m.moving(w)
	if len(names) == 0 {
		if t, ok := m.temperature(w); ok {
			r.Temperature = t
		}
		r.Zeroth = thermo.ZerothLaw([]thermo.Reading{r.Temperature})
		return
	}
	k := 0
	for _, name := range names {
		k += m.parameters[name]
	}
	group := []thermo.Group{{Size: max(k, 1)}}
	virial, err1 := thermo.NewVirial(group)
	kinetic, err2 := thermo.NewMomentumKinetic(group, 0.5, 0) // draws come as heat, so the scale is 1
	if err1 != nil || err2 != nil {
		return // no group is empty
	}
	heats := true
	var balance balance
	for _, s := range w {
		v, u, o, complete := sums(s, names)
		if !complete {
			continue
		}
		virial.Add([]float64{v})
		balance.add(s, o, u)
		heat, ok := kineticHeat(s, u)
		if heats = heats && ok; ok {
			kinetic.Add([]float64{heat})
		}
	}
	r.Stationarity = balance.reading("")
	if k == 0 {
		r.Zeroth = thermo.ZerothLaw(nil)
		return
	}
	r.Temperature = virial.Global()
	stillMoving(&r.Temperature, r.Stationarity)
	r.Zeroth = thermo.ZerothLaw([]thermo.Reading{r.Temperature})
	if heats {
		r.Kinetic = kinetic.Global()
		r.Zeroth = thermo.ZerothLawSameDraws(virial, kinetic)
	}
}

// A balance compares what pulls the parameters back to θ̄ with what drives them
// away. The ρ of [thermo.Stationarity] counts every step by itself; with the
// momentum µ (or β₁ of Adam) steps go on, and carry a random walk (1+µ)/(1−µ)
// times as far. Taken relative to that, the departure from 1 is the part of the
// diffusion that is not pulled back; of gradient descent it is then the ratio of
// the virial to the kinetic temperature.
type balance struct{ pulled, square thermo.Series }

func (b *balance) add(s sample, overlap, update2 float64) {
	memory := min(max(s.whole["momentum"], s.whole["beta1"], 0), 1)
	b.pulled.Add(update2 - (update2+2*overlap)*(1-memory)/(1+memory))
	b.square.Add(update2)
}

func (b *balance) reading(layer string) thermo.Reading {
	return thermo.Ratio("stationarity", layer, "1", &b.pulled, &b.square)
}

// stillMoving marks a temperature as not valid when the stationarity says that
// the parameters go somewhere: θ − θ̄ is then mostly the way they went.
func stillMoving(temperature *thermo.Reading, s thermo.Reading) {
	off := math.Abs(s.Value - 1)
	if temperature.Valid() && off > stationaryBand && !(off < sigmas*s.StdErr) {
		temperature.Invalid = fmt.Sprintf("still moving: stationarity %s, 1 when stationary", thermo.FormatError(s.Value, s.StdErr))
	}
}

// kineticHeat returns k·T of one update of gradient descent, (1 + µ)|Δ|²/2η.
func kineticHeat(s sample, update2 float64) (float64, bool) {
	eta, mu := rate(s), s.whole["momentum"]
	_, descent := s.whole["momentum"]
	return (1 + mu) * update2 / (2 * eta), descent && eta > 0
}

// virials are the virials of a layer about θ̄, or where that is not recorded about 0.
func virials(w []sample, layer string) []float64 {
	if v := column(w, layer, "centred_virial"); len(v) > 0 {
		return v
	}
	return column(w, layer, "virial")
}

// temperature reads the temperature of the whole system off its virials alone.
func (m *Monitor) temperature(w []sample) (t thermo.Reading, ok bool) {
	var sums []float64
	k := 0.0
	for _, name := range m.names {
		v := virials(w, name)
		if m.parameters[name] == 0 || len(v) == 0 || sums != nil && len(v) != len(sums) {
			continue // of other steps than the others: it cannot be added
		}
		if sums == nil {
			sums = make([]float64, len(v))
		}
		for i, x := range v {
			sums[i] += x
		}
		k += float64(m.parameters[name])
	}
	for i := range sums {
		sums[i] /= k
	}
	return mean("virial", "", "energy/nat", sums), len(sums) > 0
}

// moving lists the layers whose motion about θ̄ is recorded.
func (m *Monitor) moving(w []sample) []string {
	var names []string
	for _, name := range m.names {
		if len(column(w, name, "centred_virial")) > 0 && len(column(w, name, "update_norm2")) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// sums adds up (θ−θ̄)·g, |Δ|² and Δ·(θ−θ̄) of the layers.
func sums(s sample, names []string) (virial, update2, overlap float64, complete bool) {
	for _, name := range names {
		v, ok1 := s.get(name, "centred_virial")
		u, ok2 := s.get(name, "update_norm2")
		o, ok3 := s.get(name, "centred_update")
		if !ok1 || !ok2 || !ok3 {
			return 0, 0, 0, false
		}
		virial, update2, overlap = virial+v, update2+u, overlap+o
	}
	return virial, update2, overlap, true
}

// readLayers reads the local temperatures and stationarities.
func (m *Monitor) readLayers(w []sample, r *Report) {
	for i := range r.Layers {
		l := &r.Layers[i]
		l.Temperature = mean("virial", l.Name, "energy/nat", virials(w, l.Name))
		if l.Parameters > 0 {
			l.Temperature.Value /= float64(l.Parameters)
			l.Temperature.StdErr /= float64(l.Parameters)
		} else if l.Temperature.Invalid == "" {
			l.Temperature.Unit, l.Temperature.Invalid = "energy", "the number of parameters is not recorded: this is heat"
		}
		var balance balance
		for _, s := range w {
			o, ok1 := s.get(l.Name, "centred_update")
			if u, ok2 := s.get(l.Name, "update_norm2"); ok1 && ok2 {
				balance.add(s, o, u)
			}
		}
		if l.Stationarity = balance.reading(l.Name); balance.square.N() > 0 {
			stillMoving(&l.Temperature, l.Stationarity)
		}
	}
}

func mean(name, group, unit string, values []float64) thermo.Reading {
	var s thermo.Series
	for _, x := range values {
		s.Add(x)
	}
	return s.Reading(name, group, unit)
}

// last returns the last value recorded, NaN when there is none.
func last(w []sample, layer, name string) float64 {
	for i := len(w) - 1; i >= 0; i-- {
		if x, ok := w[i].get(layer, name); ok {
			return x
		}
	}
	return math.NaN()
}
