package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Options of [Run]. The zero value of a field means what its comment says.
type Options struct {
	Chains      int     // run side by side; 0: 4
	Warmup      int     // steps before the first draw; 0: none
	Draws       int     // steps after them, per chain; at least 1
	Thin        int     // steps per draw that is kept in memory, at most Draws; 0: as Thinning says
	Temperature float64 // T of exp(−E/T); 0: 1
	Seed        uint64
	Acceptance  float64 // that the warm-up of exact kernels tunes the step to; 0: 0.8, MALA 0.574. Near 1 the steps are small
	Dense       bool    // the warm-up of HMC and NUTS estimates a dense metric
	Curvature   bool    // measure tr H at kept draws (two gradients each): the configurational thermometer
	// Start returns where a chain begins; nil: uniform in (−2, 2), tried again
	// until the energy is finite.
	Start func(chain int, rng *rand.Rand) []float64
	// Progress is called now and then, by one goroutine at a time per chain, with
	// the number of steps one chain has taken since the last call; nil: not called.
	Progress func(steps int)

	centre []float64 // of the virial; nil: the mean of the warm-up
}

// A Result is what several chains drew. It can be stored as JSON and continued
// by [Extend].
type Result struct {
	Names       []string `json:"names"` // of the quantities drawn
	Seed        uint64   `json:"seed"`
	Temperature float64  `json:"temperature"`
	Warmup      int      `json:"warmup"`
	Thin        int      `json:"thin"` // steps per kept draw
	Curvature   bool     `json:"curvature"`
	Estimated   bool     `json:"estimated,omitempty"` // the density is an Estimator: energies and forces are those of kept draws alone
	Chains      []*Chain `json:"chains"`
}

// A Chain is one chain of a Result. The traces have one value per kept draw,
// each the mean over the steps since the draw before.
type Chain struct {
	Draws       numbers   `json:"draws"` // kept draws × names, row-major
	Moments     moments   `json:"moments"`
	Energy      numbers   `json:"energy"`              // trace of E
	Energy2     numbers   `json:"energy2,omitempty"`   // trace of E², of thinned chains
	Virial      numbers   `json:"virial"`              // trace of (θ − m)·∇E/k, m the mean of the warm-up
	Gradient2   numbers   `json:"gradient2"`           // trace of Σ wᵢ gᵢ²/k, w the variances of the warm-up over T
	Kinetic     numbers   `json:"kinetic,omitempty"`   // trace of |p|²/(mass·k); kernels with momenta
	Curvature   numbers   `json:"curvature,omitempty"` // Hutchinson estimates of Σ wᵢ Hᵢᵢ/k, at kept draws
	Open        block     `json:"open"`                // steps since the last kept draw
	Acceptance  float64   `json:"acceptance"`          // mean
	Divergences int       `json:"divergences"`
	Gradients   int       `json:"gradients"` // evaluations after the warm-up
	Depths      []int     `json:"depths,omitempty"`
	Centre      []float64 `json:"centre"`
	Weights     []float64 `json:"weights"`
	Kernel      named     `json:"kernel"` // as tuned by the warm-up
	State       *State    `json:"state"`
	Ensemble    *Ensemble `json:"ensemble,omitempty"` // of parallel tempering, else nil
	Generator   []byte    `json:"generator"`          // of the random numbers

	// Sums over steps of the total energy: those of the energy Bayesian fraction of
	// missing information.
	Total     moments `json:"total"`
	Last      float64 `json:"last"`
	SumChange float64 `json:"sum_change"`
}

// Kept returns the number of kept draws.
func (c *Chain) Kept() int { return len(c.Energy) }

// BFMI returns the energy Bayesian fraction of missing information (Betancourt
// 2016): below 0.3 the momenta do not carry the chain through all energies. NaN
// for kernels without momenta.
func (c *Chain) BFMI() float64 {
	if c.Total.N < 2 {
		return math.NaN()
	}
	return c.SumChange / c.Total.M2[0]
}

// A block is sums over the steps since the last kept draw.
type block struct {
	Energy    float64 `json:"energy"`
	Energy2   float64 `json:"energy2"`
	Virial    float64 `json:"virial"`
	Gradient2 float64 `json:"gradient2"`
	Kinetic   float64 `json:"kinetic"`
}

// Thinning returns the fewest steps per kept draw with which a chain keeps at
// most 10,000 draws of so many quantities each, and at most 2²⁴ numbers (128 MB).
func Thinning(steps, quantities int) int {
	most := min(10000, max(1<<24/max(quantities, 1), 1))
	return max((steps+most-1)/most, 1)
}

// DefaultThin returns the steps per kept draw of so many steps of a chain when no
// others are asked for: as Thinning says, and of an [Estimator] an epoch, if that
// leaves 200 draws.
func DefaultThin(d Density, steps int) int {
	return max(Thinning(steps, len(namesOf(d))), min(epoch(d), steps/200))
}

// Halve doubles the steps per kept draw, so that half of the draws are kept. What
// all steps count in stays.
func (r *Result) Halve() {
	for _, c := range r.Chains {
		c.halve(r)
	}
	r.Thin *= 2
}

func (c *Chain) halve(r *Result) {
	k, kept, width := c.Kept()/2, c.Kept(), len(r.Names)
	if r.Thin == 1 {
		c.Energy2 = make(numbers, kept)
		for i, e := range c.Energy {
			c.Energy2[i] = e * e
		}
	}
	if kept%2 == 1 { // the last draw becomes half a block
		n, last := float64(r.Thin), kept-1
		c.Open.Kinetic += n * at0(c.Kinetic, last)
		if !r.Estimated {
			c.Open.Energy += n * c.Energy[last]
			c.Open.Energy2 += n * c.Energy2[last]
			c.Open.Virial += n * c.Virial[last]
			c.Open.Gradient2 += n * c.Gradient2[last]
		}
	}
	for i := range k {
		copy(c.Draws[i*width:(i+1)*width], c.Draws[(2*i+1)*width:])
	}
	c.Draws = slices.Clip(c.Draws[:k*width])
	// A draw has the mean over its block, of estimates and curvatures its own value.
	halve := func(trace numbers, own bool) numbers {
		if len(trace) == 0 {
			return trace
		}
		half := make(numbers, k)
		for i := range half {
			if half[i] = trace[2*i+1]; !own {
				half[i] = (trace[2*i] + trace[2*i+1]) / 2
			}
		}
		return half
	}
	c.Energy, c.Energy2 = halve(c.Energy, r.Estimated), halve(c.Energy2, r.Estimated)
	c.Virial, c.Gradient2 = halve(c.Virial, r.Estimated), halve(c.Gradient2, r.Estimated)
	c.Kinetic, c.Curvature = halve(c.Kinetic, false), halve(c.Curvature, true)
}

// at0 is x[i], or 0 of an empty x.
func at0(x numbers, i int) float64 {
	if len(x) == 0 {
		return 0
	}
	return x[i]
}

// complete fills in what 0 stands for, but for Thin, and checks the rest.
func (o *Options) complete() error {
	if o.Chains == 0 {
		o.Chains = 4
	}
	if o.Temperature == 0 {
		o.Temperature = 1
	}
	if o.Chains < 1 || o.Draws < 1 || o.Warmup < 0 || o.Thin < 0 {
		return fmt.Errorf("expected at least 1 chain, 1 draw and 1 step per kept draw, got %d, %d, %d (warm-up %d)", o.Chains, o.Draws, o.Thin, o.Warmup)
	}
	if o.Thin > o.Draws {
		return fmt.Errorf("expected at most as many steps per kept draw as there are steps, %d, got %d", o.Draws, o.Thin)
	}
	if !(o.Acceptance >= 0 && o.Acceptance < 1) {
		return fmt.Errorf("expected an acceptance between 0 and 1 (0: the kernel's own), got %v", o.Acceptance)
	}
	return nil
}

func newResult(d Density, o Options) *Result {
	names := namesOf(d)
	if o.Thin == 0 {
		o.Thin = DefaultThin(d, o.Draws)
	}
	return &Result{Names: names, Seed: o.Seed, Temperature: o.Temperature, Warmup: o.Warmup, Thin: o.Thin,
		Curvature: o.Curvature, Estimated: epoch(d) > 1, Chains: make([]*Chain, o.Chains)}
}

// Run draws from exp(−E/T) with several chains in parallel. density is called
// once per chain, from one goroutine, and what it returns is used by that chain
// alone, so densities with scratch memory need no locks. Every chain has its own
// generator, PCG(seed, chain): results do not depend on the number of threads.
//
// Cancelling ctx during the draws ends the chains early: Run returns what has
// been drawn together with the error of ctx. Any other error names the chain,
// and there is no result.
func Run(ctx context.Context, density func(chain int) (Density, error), kernel Kernel, o Options) (*Result, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	densities, err := makeDensities(density, o.Chains)
	if err != nil {
		return nil, err
	}
	r := newResult(densities[0], o)
	if t, ok := kernel.(tunable); ok { // before the goroutines: it is shared
		if err := t.metric().prepare(densities[0].Dim()); err != nil {
			return nil, fmt.Errorf("sampling: %w", err)
		}
	}
	err = parallel(ctx, o.Chains, func(ctx context.Context, i int) error {
		var err error
		r.Chains[i], err = startChain(ctx, densities[i], kernel, i, len(r.Names), o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, r.draw(ctx, densities, o.Draws, o.Progress)
}

// Extend continues the chains of r until each has taken the given number of
// steps since the warm-up. The result is the same as that of one run of this
// length with the thinning of r.
func Extend(ctx context.Context, r *Result, density func(chain int) (Density, error), total int, progress func(int)) error {
	densities, err := makeDensities(density, len(r.Chains))
	if err != nil {
		return err
	}
	if names := namesOf(densities[0]); len(names) != len(r.Names) || densities[0].Dim() != len(r.Chains[0].State.Theta) {
		return fmt.Errorf("sampling: the stored chains have %d parameters and %d quantities, the density %d and %d",
			len(r.Chains[0].State.Theta), len(r.Names), densities[0].Dim(), len(names))
	}
	if estimated := epoch(densities[0]) > 1; estimated != r.Estimated {
		return fmt.Errorf("sampling: expected a density whose gradients are estimates as those of the stored chains are (%t), got %t", r.Estimated, estimated)
	}
	return r.draw(ctx, densities, total, progress)
}

func makeDensities(density func(int) (Density, error), chains int) ([]Density, error) {
	ds := make([]Density, chains)
	for i := range ds {
		var err error
		if ds[i], err = density(i); err != nil {
			return nil, fmt.Errorf("sampling: chain %d: %w", i+1, err)
		}
	}
	return ds, nil
}

func namesOf(d Density) []string {
	if r, ok := d.(Reporter); ok {
		return r.Names()
	}
	names := make([]string, d.Dim())
	for i := range names {
		names[i] = fmt.Sprintf("theta[%d]", i+1)
	}
	return names
}

// parallel runs f for 0 … n−1 on as many goroutines as there are processors.
func parallel(ctx context.Context, n int, f func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			if err := f(ctx, i); err != nil {
				return fmt.Errorf("sampling: chain %d: %w", i+1, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func startChain(ctx context.Context, d Density, kernel Kernel, chain, names int, o Options) (*Chain, error) {
	d = at(d, o.Temperature)
	source := rand.NewPCG(o.Seed, uint64(chain))
	rng := rand.New(source)
	s, err := startState(d, kernel, chain, rng, o)
	if err != nil {
		return nil, err
	}
	k := d.Dim()
	c := &Chain{State: s, Moments: newMoments(names), Total: newMoments(1), Centre: make([]float64, k), Weights: make([]float64, k)}
	positions := newMoments(k)
	report, flush := batched(o.Progress)
	tuned, err := warm(ctx, d, s, kernel, o, &positions, rng, report)
	if err != nil {
		return nil, err
	}
	flush()
	c.Kernel = named{tuned}
	copy(c.Centre, s.Theta)
	for i := range c.Weights {
		c.Weights[i] = 1
		if positions.N > 1 && positions.M2[i] > 0 {
			c.Centre[i] = positions.Mean[i]
			c.Weights[i] = positions.M2[i] / (float64(positions.N-1) * o.Temperature)
		}
	}
	copy(c.Centre, o.centre)
	c.Generator, err = source.MarshalBinary()
	return c, err
}

func startState(d Density, kernel Kernel, chain int, rng *rand.Rand, o Options) (*State, error) {
	if o.Start != nil {
		return kernel.Init(d, o.Start(chain, rng), o.Temperature, rng)
	}
	theta := make([]float64, d.Dim())
	var err error
	for range 100 {
		for i := range theta {
			theta[i] = 4*rng.Float64() - 2
		}
		var s *State
		if s, err = kernel.Init(d, theta, o.Temperature, rng); !errors.Is(err, errBadStart) {
			return s, err
		}
	}
	return nil, fmt.Errorf("100 random starts failed: %w", err)
}

// batched calls progress once in 64 ticks.
func batched(progress func(int)) (tick, flush func()) {
	n := 0
	flush = func() {
		if progress != nil && n > 0 {
			progress(n)
		}
		n = 0
	}
	return func() {
		if n++; n == 64 {
			flush()
		}
	}, flush
}

// draw takes steps with every chain until each has the given number.
func (r *Result) draw(ctx context.Context, densities []Density, total int, progress func(int)) error {
	err := parallel(ctx, len(r.Chains), func(_ context.Context, i int) error {
		// Not the group's context: an error of one chain ends the run anyway, and the
		// caller's cancellation is no error of the chain.
		return r.Chains[i].draw(ctx, densities[i], total, r, progress)
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

func (c *Chain) draw(ctx context.Context, d Density, total int, r *Result, progress func(int)) error {
	source := &rand.PCG{}
	if err := source.UnmarshalBinary(c.Generator); err != nil {
		return fmt.Errorf("stored generator: %w", err)
	}
	rng := rand.New(source)
	reporter, _ := d.(Reporter)
	d = at(d, r.Temperature)
	rec := recorder{Chain: c, d: d, reporter: reporter, out: make([]float64, len(r.Names)), result: r}
	if r.Estimated {
		estimator, ok := d.(Estimator)
		if !ok {
			return errors.New("expected an Estimator that is not Transformed")
		}
		rec.estimator, rec.exact = estimator, make([]float64, d.Dim())
	}
	step := func() error {
		info, err := c.Kernel.Step(d, c.State, rng)
		if err != nil {
			return err
		}
		return rec.record(info, rng)
	}
	if e := c.Ensemble; e != nil {
		e.States[0] = c.State
		coldest := func(rung int, info Info) error {
			if rung > 0 {
				return nil
			}
			return rec.record(info, rng)
		}
		step = func() error { return e.scan(d, rng, coldest) }
	}
	tick, flush := batched(progress)
	defer flush()
	for c.Moments.N < total {
		// Stop between kept draws only: what is stored is then all that was drawn.
		if c.Moments.N%r.Thin == 0 && ctx.Err() != nil {
			break
		}
		if err := step(); err != nil {
			return err
		}
		tick()
	}
	var err error
	c.Generator, err = source.MarshalBinary()
	return err
}

// A recorder adds steps to a chain.
type recorder struct {
	*Chain
	d         Density
	reporter  Reporter
	estimator Estimator // nil: the gradients are exact
	exact     []float64 // gradient of the estimator
	out       []float64
	result    *Result
}

func (c *recorder) record(info Info, rng *rand.Rand) error {
	s := c.State
	if c.reporter != nil {
		c.reporter.Report(s.Theta, c.out)
	} else {
		copy(c.out, s.Theta)
	}
	if !finite(sumSquares(c.out)) || !finite(s.Energy) {
		return fmt.Errorf("step %d: a drawn quantity is not finite (energy %v)", s.Steps, s.Energy)
	}
	c.Moments.add(c.out)
	n := float64(c.Moments.N)
	c.Acceptance += (info.Acceptance - c.Acceptance) / n
	c.Gradients += info.Gradients
	if info.Divergent {
		c.Divergences++
	}
	if _, ok := c.Kernel.Kernel.(NUTS); ok {
		for len(c.Depths) <= info.Depth {
			c.Depths = append(c.Depths, 0)
		}
		c.Depths[info.Depth]++
	}
	if finite(info.Hamiltonian) {
		c.Total.add([]float64{info.Hamiltonian})
		if c.Total.N > 1 {
			c.SumChange += (info.Hamiltonian - c.Last) * (info.Hamiltonian - c.Last)
		}
		c.Last = info.Hamiltonian
	}
	if s.Momentum != nil {
		c.Open.Kinetic += info.Kinetic
	}
	kept := c.Moments.N%c.result.Thin == 0
	switch {
	case c.estimator == nil:
		c.accumulate(s.trueEnergy(c.d), s.Gradient)
	case kept:
		energy := c.estimator.Exact(s.Theta, c.exact)
		if !finite(energy) {
			return fmt.Errorf("step %d: the energy is not finite: %v", s.Steps, energy)
		}
		c.accumulate(energy, c.exact)
	}
	if kept {
		c.keep(rng)
	}
	return nil
}

func (c *recorder) accumulate(energy float64, gradient []float64) {
	s := c.State
	var virial, gradient2 float64
	for i, g := range gradient {
		virial += (s.Theta[i] - c.Centre[i]) * g
		gradient2 += c.Weights[i] * g * g
	}
	k := float64(len(s.Theta))
	c.Open.Energy += energy
	c.Open.Energy2 += energy * energy
	c.Open.Virial += virial / k
	c.Open.Gradient2 += gradient2 / k
}

// keep closes a block: one kept draw and one value of each trace.
func (c *recorder) keep(rng *rand.Rand) {
	steps := float64(c.result.Thin)
	n := steps // of energies
	if c.estimator != nil {
		n = 1
	}
	b := c.Open
	c.Open = block{}
	c.Draws = append(c.Draws, c.out...)
	c.Energy = append(c.Energy, b.Energy/n)
	if steps > 1 {
		c.Energy2 = append(c.Energy2, b.Energy2/n)
	}
	c.Virial = append(c.Virial, b.Virial/n)
	c.Gradient2 = append(c.Gradient2, b.Gradient2/n)
	if c.State.Momentum != nil {
		c.Kinetic = append(c.Kinetic, b.Kinetic/steps)
	}
	if c.result.Curvature {
		c.Curvature = append(c.Chain.Curvature, weightedTrace(c.d, c.State, c.Weights, rng))
	}
}

// weightedTrace is one Hutchinson estimate of Σ wᵢ Hᵢᵢ/k: v·H·v with vᵢ = ±√wᵢ,
// by a central difference of the gradient over a thousandth of v.
func weightedTrace(d Density, s *State, weights []float64, rng *rand.Rand) float64 {
	const h = 1e-3
	w := s.workspace()
	v, theta, plus, minus := w.get(), w.get(), w.get(), w.get()
	for i := range v {
		v[i] = math.Sqrt(weights[i])
		if rng.Uint64()&1 == 0 {
			v[i] = -v[i]
		}
		theta[i] = s.Theta[i] + h*v[i]
	}
	d.Gradient(theta, plus)
	for i := range v {
		theta[i] = s.Theta[i] - h*v[i]
	}
	d.Gradient(theta, minus)
	var sum float64
	for i := range v {
		sum += v[i] * (plus[i] - minus[i])
	}
	for _, x := range [][]float64{v, theta, plus, minus} {
		w.put(x)
	}
	return sum / (2 * h * float64(len(v)))
}

// StepSize returns the step size of the chain's kernel, as tuned.
func (c *Chain) StepSize() float64 {
	switch k := c.Kernel.Kernel.(type) {
	case SGLD:
		return k.StepSize
	case PSGLD:
		return k.StepSize
	case MALA:
		return k.StepSize
	case SGHMC:
		return k.StepSize
	case SGNHT:
		return k.StepSize
	case tunable:
		return k.leapfrogStep()
	}
	return math.NaN()
}
