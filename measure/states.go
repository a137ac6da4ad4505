package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/heatengine"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// chunk bounds the examples of one pass through the network.
const chunk = 512

// A draw of a state sees examples with about so many labels, and at least a few
// sequences. The mean virial is linear in the gradient, so a random subset leaves
// it unbiased, and the subset's noise is part of the error.
const labelsPerDraw, fewestPerDraw = 4096, 16

// A lens evaluates a network on data, whatever its parameters are.
type lens[T nn.Float] struct {
	network *nn.Network[T]
	set     *dataset.Set
	random  *rand.Rand
	indices []int
	batch   nn.Batch[T]
	grad    []float64         // mean gradient over the examples of the last evaluation
	meter   *heatengine.Meter // sees every pass, unless nil
	scratch step
}

func newLens[T nn.Float](network *nn.Network[T], set *dataset.Set, random *rand.Rand) *lens[T] {
	l := &lens[T]{network: network, set: set, random: random,
		grad: make([]float64, len(network.Params)), indices: make([]int, set.N)}
	for i := range l.indices {
		l.indices[i] = i
	}
	k := len(network.Groups)
	l.scratch = step{virial: make([]float64, k), overlap: make([]float64, k), squares: make([]float64, k)}
	return l
}

// examples returns the indices that the next draw sees: all, or a random subset.
func (l *lens[T]) examples() []int {
	n := max(labelsPerDraw/max(1, l.set.Positions()), fewestPerDraw)
	if l.set.N <= n {
		return l.indices
	}
	for i := range n { // the first steps of a Fisher-Yates shuffle
		j := i + l.random.IntN(l.set.N-i)
		l.indices[i], l.indices[j] = l.indices[j], l.indices[i]
	}
	return l.indices[:n]
}

// evaluate returns the energy on the examples and leaves its gradient in l.grad.
// It goes through them in batches of the given size, and calls each, which may
// be nil, after every one.
func (l *lens[T]) evaluate(examples []int, size int, each func(*nn.Observation) error) (energy float64, err error) {
	clear(l.grad)
	var observation *nn.Observation
	if each != nil {
		observation = &nn.Observation{}
	}
	for part := range slices.Chunk(examples, size) {
		training.Minibatch(l.set, part, &l.batch)
		e, err := l.network.Backward(l.batch, observation)
		if err != nil {
			return 0, err
		}
		if each != nil {
			if err := each(observation); err != nil {
				return 0, err
			}
		}
		if l.meter != nil {
			if err := heatengine.Observe(l.meter, l.network); err != nil {
				return 0, err
			}
		}
		share := float64(len(part)) / float64(len(examples))
		energy += share * e
		for i, g := range l.network.Grad {
			l.grad[i] += share * float64(g)
		}
	}
	return energy, nil
}

// A record accumulates the draws of one state.
type record struct {
	energy     thermo.Series
	virial     *thermo.Virial       // of the groups of which a parameter is drawn
	drawn      []int                // which these are
	kinetic    *thermo.Kinetic      // of the fluctuations of sgd, else nil
	stationary *thermo.Stationarity // of fluctuations, else nil
	entropy    thermo.Reading
	resolution string
	draws      int
}

func newRecord(groups []thermo.Group) (*record, error) {
	r := &record{}
	var random []thermo.Group
	for i, g := range groups {
		if g.Size > 0 { // norms begin without a spread
			r.drawn, random = append(r.drawn, i), append(random, g)
		}
	}
	var err error
	r.virial, err = thermo.NewVirial(random)
	return r, err
}

// add adds a draw, with the virial of every group.
func (r *record) add(energy float64, virial []float64) error {
	r.energy.Add(energy)
	r.draws++
	drawn := make([]float64, len(r.drawn))
	for i, group := range r.drawn {
		drawn[i] = virial[group]
	}
	return r.virial.Add(drawn)
}

// temperatures returns the local temperature of each of the groups.
func (r *record) temperatures(groups []thermo.Group) []thermo.Reading {
	readings := make([]thermo.Reading, len(groups))
	for i, g := range groups {
		readings[i] = thermo.Reading{Name: "virial", Group: g.Name, Value: math.NaN(), StdErr: math.NaN(), Unit: "energy/nat",
			Invalid: "none of its parameters is drawn"}
	}
	for i, reading := range r.virial.Readings() {
		readings[r.drawn[i]] = reading
	}
	return readings
}

// initial draws the state of the initialisation scheme: independent parameters,
// centre 0.
func (l *lens[T]) initial(ctx context.Context, o Options, groups []thermo.Group) (*record, error) {
	r, err := newRecord(groups)
	if err != nil {
		return nil, err
	}
	virial := make([]float64, len(groups))
	params, state := slices.Clone(l.network.Params), slices.Clone(l.network.State)
	defer func() { copy(l.network.Params, params); copy(l.network.State, state) }()
	for r.draws < o.Draws && ctx.Err() == nil {
		if err := l.network.Init(o.Init, l.random); err != nil {
			return nil, err
		}
		energy, err := l.evaluate(l.examples(), chunk, nil)
		if err != nil {
			return nil, fmt.Errorf("draw %d of the initial state: %w", r.draws, err)
		}
		for i, g := range l.network.Groups {
			virial[i] = dot(l.network.Params[g.Offset:g.Offset+g.Size], l.grad[g.Offset:])
		}
		if l.meter != nil {
			l.meter.EndDraw()
		}
		if err := r.add(energy, virial); err != nil {
			return nil, err
		}
		o.progress(r.draws, o.Draws)
	}
	return r, nil
}

func dot[T nn.Float](a []T, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * b[i]
	}
	return sum
}

// posterior draws θ = θ* + sξ, ξ ~ N(0, I), in antithetic pairs: the gradient at
// θ* itself then drops out of each pair, whose mean is one independent draw. The
// width s is where the mean energy has risen by its own standard error on the
// data: these are the weights that the data cannot tell from θ*.
func (l *lens[T]) posterior(ctx context.Context, o Options, groups []thermo.Group, weights *weightsReading) (*record, error) {
	if !(weights.energyError > 0) {
		return nil, fmt.Errorf("posterior: every example has the same loss, %.3g: the energy has no standard error to set a width by", weights.Energy)
	}
	centre := slices.Clone(l.network.Params)
	defer copy(l.network.Params, centre)
	width, err := l.width(ctx, centre, weights.Energy, weights.energyError)
	if err != nil {
		return nil, err
	}
	r, err := newRecord(groups)
	if err != nil {
		return nil, err
	}
	for r.draws < o.Draws && ctx.Err() == nil {
		rise, virial, err := l.pair(centre, weights.Energy, width)
		if err != nil {
			return nil, fmt.Errorf("draw %d of the posterior: %w", r.draws, err)
		}
		if err := r.add(weights.Energy+rise, virial); err != nil {
			return nil, err
		}
		o.progress(r.draws, o.Draws)
	}
	k := float64(len(centre))
	r.entropy = thermo.Reading{Name: "entropy", Value: k / 2 * math.Log(2*math.Pi*math.E*width*width), Unit: "nat"}
	r.resolution = fmt.Sprintf("N(θ*, s²I) with s = %.4g", width)
	return r, nil
}

// pair evaluates one antithetic pair of the posterior: how far its mean energy
// lies above that of the centre on the same examples, and the mean virials.
func (l *lens[T]) pair(centre []T, energy, width float64) (rise float64, virial []float64, err error) {
	displacement := make([]T, len(centre))
	for i := range displacement {
		displacement[i] = T(width * l.random.NormFloat64())
	}
	virial = make([]float64, len(l.network.Groups))
	examples := l.examples()
	if len(examples) < l.set.N { // which examples they are matters more than the rise
		copy(l.network.Params, centre)
		if energy, err = l.energy(examples); err != nil {
			return 0, nil, err
		}
	}
	for _, sign := range []T{1, -1} {
		for i, d := range displacement {
			l.network.Params[i] = centre[i] + sign*d
		}
		e, err := l.evaluate(examples, chunk, nil)
		if err != nil {
			return 0, nil, err
		}
		rise += (e - energy) / 2
		for i, g := range l.network.Groups {
			virial[i] += float64(sign) / 2 * dot(displacement[g.Offset:g.Offset+g.Size], l.grad[g.Offset:])
		}
	}
	return rise, virial, nil
}

// energy returns the energy on the examples, without its gradient.
func (l *lens[T]) energy(examples []int) (energy float64, err error) {
	for part := range slices.Chunk(examples, chunk) {
		training.Minibatch(l.set, part, &l.batch)
		e, err := l.network.Energy(l.batch)
		if err != nil {
			return 0, err
		}
		energy += e * float64(len(part)) / float64(len(examples))
	}
	return energy, nil
}

// width returns the s at which N(θ*, s²I) has a mean energy of the given rise
// above that of the weights. It brackets s by quadrupling, then bisects ln s, with
// the same random directions throughout.
func (l *lens[T]) width(ctx context.Context, centre []T, energy, rise float64) (float64, error) {
	const pairs, bisections = 4, 9
	random, seed := l.random, l.random.Uint64()
	defer func() { l.random = random }()
	excess := func(width float64) (float64, error) {
		l.random = rand.New(rand.NewPCG(seed, 0))
		sum := 0.0
		for range pairs {
			r, _, err := l.pair(centre, energy, width)
			if err != nil {
				return 0, err
			}
			sum += r / pairs
		}
		return sum - rise, ctx.Err()
	}
	low, high := 0.0, narrowest
	for {
		e, err := excess(high)
		if err != nil {
			return 0, err
		}
		if e > 0 {
			break
		}
		if low, high = high, 4*high; high > widest {
			return 0, fmt.Errorf("posterior: the energy does not rise by %.3g even at a width of %g: it does not depend on the weights", rise, low)
		}
	}
	if low == 0 {
		return 0, fmt.Errorf("posterior: at a width of %g the energy already rises by more than its standard error %.3g: the weights are too sharp for float32", high, rise)
	}
	for range bisections {
		middle := math.Sqrt(low * high)
		e, err := excess(middle)
		if err != nil {
			return 0, err
		}
		if e > 0 {
			high = middle
		} else {
			low = middle
		}
	}
	return math.Sqrt(low * high), nil
}

// The widths of a posterior that width looks between.
const narrowest, widest = 1e-6, 1e3

// fluctuations lets the trainer go on: a first stretch of o.Draws steps finds the
// centre θ̄, a second one is measured about it. Every step is one, correlated,
// draw. The trainer's weights and optimiser go on with it.
func (l *lens[T]) fluctuations(ctx context.Context, o Options, groups []thermo.Group) (*record, error) {
	t := o.Trainer
	r, err := newRecord(groups)
	if err != nil {
		return nil, err
	}
	if r.stationary, err = thermo.NewStationarity(groups); err != nil {
		return nil, err
	}
	if spec := t.Config.Optimizer; spec.Kind == "sgd" {
		if r.kinetic, err = thermo.NewMomentumKinetic(groups, spec.LearningRate, spec.Momentum); err != nil {
			return nil, err
		}
	}
	t.Optimizer.KeepUpdate = true
	centre, err := l.settle(ctx, o)
	if err != nil {
		return nil, err
	}
	for range o.Draws / 4 { // forget the centre: its last steps are near to it
		if _, err := t.Advance(nil); err != nil {
			return nil, err
		}
	}
	window := newSpread(len(centre.mean))
	var distance thermo.Series
	for r.draws < o.Draws && ctx.Err() == nil {
		energy, err := t.Advance(nil)
		if err != nil {
			return nil, err
		}
		step := l.step(t, centre.mean)
		window.add(t.Network.Params)
		distance.Add(step.distance)
		if err := errors.Join(r.add(energy, step.virial), r.stationary.Add(step.overlap, step.squares)); err != nil {
			return nil, err
		}
		if r.kinetic != nil {
			if err := r.kinetic.Add(step.squares); err != nil {
				return nil, err
			}
		}
		o.progress(o.Draws+r.draws, 2*o.Draws)
	}
	r.entropy, r.resolution = window.entropy(t.Network, distance.Reading("", "", "").ESS)
	return r, nil
}

// A step is what one step of an optimiser shows, per group of parameters.
type step struct {
	virial   []float64 // (θ − m)·ĝ
	overlap  []float64 // (θ − m)·u
	squares  []float64 // |u|²
	distance float64   // |θ − m|² of all
}

// step reads the trainer's last step about the centre m. Its scratch belongs to
// the lens.
func (l *lens[T]) step(t *training.Trainer, centre []float64) *step {
	s := &l.scratch
	update := t.Optimizer.Update()
	s.distance = 0
	for i, g := range t.Network.Groups {
		var virial, overlap, squares float64
		for j := g.Offset; j < g.Offset+g.Size; j++ {
			u := float64(update[j])
			d := float64(t.Network.Params[j]) - u - centre[j] // before the step
			virial += d * float64(t.Network.Grad[j])
			overlap += d * u
			squares += u * u
			s.distance += d * d
		}
		s.virial[i], s.overlap[i], s.squares[i] = virial, overlap, squares
	}
	return s
}

// settle takes o.Draws steps and returns the mean and spread of the weights.
func (l *lens[T]) settle(ctx context.Context, o Options) (*spread, error) {
	s := newSpread(len(o.Trainer.Network.Params))
	for i := 0; i < o.Draws; i++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("interrupted while finding the centre of the fluctuations: %w", err)
		}
		if _, err := o.Trainer.Advance(nil); err != nil {
			return nil, err
		}
		s.add(o.Trainer.Network.Params)
		o.progress(i, 2*o.Draws)
	}
	return s, nil
}

// A spread holds the running mean and variance of every parameter.
type spread struct {
	n           float64
	mean, sumSq []float64
}

func newSpread(k int) *spread { return &spread{mean: make([]float64, k), sumSq: make([]float64, k)} }

func (s *spread) add(params []float32) {
	s.n++
	inverse := 1 / s.n
	for i, p := range params {
		d := float64(p) - s.mean[i]
		s.mean[i] += d * inverse
		s.sumSq[i] += d * (float64(p) - s.mean[i])
	}
}

// entropy returns the entropy of a Gaussian with these variances, an upper bound
// of the state's. A parameter cannot be known to better than the rounding of its
// arithmetic, so a spread below 2⁻²⁴ of the layer's root-mean-square weight
// counts as that. The error allows for the worst case, that all variances err
// together.
func (s *spread) entropy(network *nn.Network[float32], ess float64) (thermo.Reading, string) {
	total, floored := 0.0, 0
	for _, g := range network.Groups {
		ms := 0.0
		for _, m := range s.mean[g.Offset : g.Offset+g.Size] {
			ms += m * m
		}
		floor := ms / float64(g.Size) * 0x1p-48
		for _, sq := range s.sumSq[g.Offset : g.Offset+g.Size] {
			variance := sq / (s.n - 1)
			if variance < floor {
				variance, floored = floor, floored+1
			}
			total += 0.5 * math.Log(2*math.Pi*math.E*variance)
		}
	}
	k := float64(len(s.mean))
	reading := thermo.Reading{Name: "entropy", Value: total, StdErr: k * math.Sqrt(0.5/ess), ESS: ess, Unit: "nat"}
	if math.IsInf(total, 0) || math.IsNaN(total) {
		reading.Invalid = "a layer's weights are all zero: no resolution to refer to"
	}
	return reading, fmt.Sprintf("Gaussian of every weight's own variance, an upper bound; %d of %d weights move less than float32 resolves", floored, len(s.mean))
}
