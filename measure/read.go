package measure

import (
	"context"
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/heatengine"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// Default draws. Re-initialisations and posterior pairs are independent; the
// steps of an optimiser are not, and need many more.
const (
	defaultDraws = 64
	leastSteps   = 4000
	mostSteps    = 40000
)

// defaultSteps is a window of twenty times the slowest relaxation that weight
// decay allows, (1 − µ)/(η wd) steps. Without weight decay there is no slowest one
// to wait for.
func defaultSteps(c training.Config) int {
	rate := c.Optimizer.LearningRate * (c.Network.WeightDecay + c.Optimizer.WeightDecay) / (1 - c.Optimizer.Momentum)
	if rate == 0 {
		return leastSteps
	}
	return int(math.Max(leastSteps, math.Min(mostSteps, 20/rate)))
}

// exactEntropy is the resolution of the initial state.
const exactEntropy = "the scheme's own distribution, exact"

// readInitial reads the state of the initialisation scheme.
func (l *lens[T]) readInitial(ctx context.Context, o Options) (*Result, error) {
	if o.Draws == 0 {
		o.Draws = defaultDraws
	}
	entropy, groups, err := l.initialEntropy(o.Init)
	if err != nil {
		return nil, err
	}
	l.meter = &heatengine.Meter{Drawn: true}
	rec, err := l.initial(ctx, o, groups)
	if err != nil {
		return nil, err
	}
	rec.entropy, rec.resolution = entropy, exactEntropy
	r := l.result(o, rec, groups)
	r.Method = "re-initialisation"
	r.Why = fmt.Sprintf("the initial state is the distribution of the scheme %s: independent draws of it, centre m = 0", o.Init)
	if err := l.fillEngines(r); err != nil {
		return nil, err
	}
	r.Thermometers = []thermo.Reading{r.Temperature}
	r.ZerothLaw = thermo.ZerothLaw(r.Thermometers)
	r.Findings = findings(r, nil)
	return r, ctx.Err()
}

// initialEntropy returns the exact entropy of an initialisation scheme and, for
// each layer, how many of its parameters the scheme gives a spread.
func (l *lens[T]) initialEntropy(scheme string) (thermo.Reading, []thermo.Group, error) {
	scales, err := l.network.InitScales(scheme)
	if err != nil {
		return thermo.Reading{}, nil, err
	}
	entropy := thermo.Reading{Name: "entropy", Unit: "nat"}
	groups := make([]thermo.Group, len(l.network.Groups))
	index := map[string]int{}
	for i, g := range l.network.Groups {
		groups[i].Name, index[g.Name] = g.Name, i
	}
	for _, s := range scales {
		if s.Std == 0 {
			continue
		}
		groups[index[s.Group]].Size += s.Size
		normal := math.Log(s.Std) + 0.5*math.Log(2*math.Pi*math.E)
		uniform := math.Log(s.Std) + 0.5*math.Log(12)
		switch s.Distribution {
		case "normal":
			entropy.Value += float64(s.Size) * normal
		case "uniform":
			entropy.Value += float64(s.Size) * uniform
		case "mixed":
			entropy.Value += float64((s.Size+1)/2)*normal + float64(s.Size/2)*uniform
		default:
			entropy.Invalid = fmt.Sprintf("tensor %q is drawn from a %s distribution, which has no density", s.Tensor, s.Distribution)
		}
	}
	return entropy, groups, nil
}

// readTrained reads the state about the trained weights.
func (l *lens[T]) readTrained(ctx context.Context, o Options) (*Result, error) {
	groups := make([]thermo.Group, len(l.network.Groups))
	for i, g := range l.network.Groups {
		groups[i] = thermo.Group{Name: g.Name, Size: g.Size}
	}
	weights, engine, err := l.atWeights(o, groups)
	if err != nil {
		return nil, err
	}
	initial, err := l.before(ctx, o)
	if err != nil {
		return nil, err
	}
	var rec *record
	if o.Trainer != nil {
		if o.Draws == 0 {
			o.Draws = defaultSteps(o.Trainer.Config)
		}
		rec, err = l.fluctuations(ctx, o, groups)
	} else {
		if o.Draws == 0 {
			o.Draws = defaultDraws
		}
		rec, err = l.posterior(ctx, o, groups, weights)
	}
	if err != nil {
		return nil, err
	}
	r := l.result(o, rec, groups)
	r.Method, r.Why = methodOf(o)
	r.AtWeights = &weights.AtWeights
	noise := weights.noise.Scales()
	for i := range r.Layers {
		r.Layers[i].Noise, r.Layers[i].GradNorm, r.Layers[i].Virial = &noise[i], weights.gradNorm[i], weights.virial[i]
	}
	l.meter = engine
	if err := l.fillEngines(r); err != nil {
		return nil, err
	}
	if err := l.compare(r, initial, rec); err != nil {
		return nil, err
	}
	r.Findings = findings(r, o.Trainer)
	return r, ctx.Err()
}

// methodOf says how a trained state was drawn, and why that way.
func methodOf(o Options) (method, why string) {
	if o.Trainer != nil {
		return "optimiser fluctuations", fmt.Sprintf(
			"the run's own %s goes on from its last checkpoint: %d steps find the centre of its fluctuations, as many more are read about it",
			o.Trainer.Config.Optimizer.Kind, o.Draws)
	}
	return "posterior about the weights", "weights alone do not say how they fluctuate: the state is N(θ*, s²I) about them, " +
		"with the s at which the mean energy has risen by its own standard error, so that the data cannot tell these weights from θ*"
}

// compare adds the transition from the initial state and what the thermometers
// say of each other.
func (l *lens[T]) compare(r *Result, initial, rec *record) error {
	transition, err := thermo.NewTransition(
		thermo.State{Name: Initial, Energy: initial.energy.Reading("energy", "", "energy"), Entropy: initial.entropy, Resolution: initial.resolution},
		thermo.State{Name: Trained, Energy: r.Energy, Entropy: r.Entropy, Resolution: r.Resolution})
	if err != nil {
		return err
	}
	r.Transition = &transition
	r.Thermometers = append(r.Thermometers, r.Temperature)
	if rec.kinetic != nil {
		r.Thermometers = append(r.Thermometers, rec.kinetic.Global())
		// The sgd-noise temperature is left out: it holds for small learning rates
		// only, and is read at one point, so it may differ in equilibrium.
		r.ZerothLaw = thermo.ZerothLawSameDraws(rec.virial, rec.kinetic)
	} else {
		r.ZerothLaw = thermo.ZerothLaw(r.Thermometers)
	}
	if s := r.AtWeights.SGDNoise; s != nil {
		r.Thermometers = append(r.Thermometers, *s)
	}
	r.Thermometers = append(r.Thermometers, transition.Temperature)
	if c := r.AtWeights.Calibration; c != nil {
		r.Thermometers = append(r.Thermometers, *c)
	}
	return nil
}

// result joins what a record of draws reads.
func (l *lens[T]) result(o Options, rec *record, groups []thermo.Group) *Result {
	unit := "energy"
	if l.network.Spec.Loss == "ce" {
		unit = "nat"
	}
	r := &Result{
		State: o.State, Draws: rec.draws, Partial: rec.draws < o.Draws, Seed: o.Seed,
		Parameters: len(l.network.Params), Examples: l.set.N,
		Energy:  rec.energy.Reading("energy", "", unit),
		Entropy: rec.entropy, Resolution: rec.resolution,
		Temperature: rec.virial.Global(),
	}
	local := rec.temperatures(groups)
	for i, g := range l.network.Groups {
		r.Random += groups[i].Size
		r.Layers = append(r.Layers, Layer{Name: g.Name, Parameters: g.Size, Temperature: local[i]})
	}
	if rec.stationary != nil {
		rho := rec.stationary.Global()
		r.Stationarity = &rho
		invalidate(&r.Temperature, rho)
		for i, rho := range rec.stationary.Readings() {
			invalidate(&r.Layers[i].Temperature, rho)
		}
	}
	r.Heat = times(r.Temperature, float64(r.Random))
	for i := range r.Layers {
		r.Layers[i].Heat = times(r.Layers[i].Temperature, float64(groups[i].Size))
	}
	return r
}

// invalidate marks the temperature of fluctuations whose stationarity is ρ: while
// the optimiser moves, θ − m is mostly the way it went, and says nothing of a
// temperature.
func invalidate(temperature *thermo.Reading, rho thermo.Reading) {
	if temperature.Valid() && moving(rho) {
		temperature.Invalid = fmt.Sprintf("still moving: stationarity %s, 1 when stationary", thermo.FormatError(rho.Value, rho.StdErr))
	}
}

// moving reports whether ρ says that an optimiser is not stationary.
func moving(rho thermo.Reading) bool {
	off := math.Abs(rho.Value - 1)
	return rho.Valid() && off > sigmas*rho.StdErr && off > 0.1
}

// times turns the temperature of k parameters into their heat k·T.
func times(temperature thermo.Reading, k float64) thermo.Reading {
	temperature.Name, temperature.Unit = "heat", "energy"
	temperature.Value *= k
	temperature.StdErr *= k
	return temperature
}

// fillEngines gives every layer the working point of the activation it feeds. A
// layer that feeds none, as the last one, is an ideal engine: the identity.
func (l *lens[T]) fillEngines(r *Result) error {
	engines, err := l.meter.Layers()
	if err != nil {
		return err
	}
	byGroup := map[string]heatengine.Layer{}
	for _, e := range engines {
		byGroup[e.Group] = e
	}
	for i := range r.Layers {
		e, ok := byGroup[r.Layers[i].Name]
		if !ok {
			e = heatengine.Identity(r.Layers[i].Name)
		}
		r.Layers[i].Engine = e
	}
	r.Cascade = heatengine.Cascade(engines)
	return nil
}

// before measures the initial state, so that its transition to the trained one
// can be read.
func (l *lens[T]) before(ctx context.Context, o Options) (*record, error) {
	entropy, groups, err := l.initialEntropy(o.Init)
	if err != nil {
		return nil, err
	}
	o.Draws, o.Progress = defaultDraws/2, nil
	r, err := l.initial(ctx, o, groups)
	if err != nil {
		return nil, err
	}
	r.entropy, r.resolution = entropy, exactEntropy
	return r, nil
}
