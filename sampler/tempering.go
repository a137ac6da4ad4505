package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// A Ladder is the temperatures of parallel tempering before its adaptation:
// Rungs of them, spaced geometrically from Options.Temperature to Hottest.
type Ladder struct {
	Hottest float64
	Rungs   int // at least 2
}

// Tempered is what [RunTempered] drew: a Result of the coldest rung, and how the
// replicas moved.
type Tempered struct {
	*Result
	Temperatures []float64 // as adapted, from the coldest
	SwapRates    []float64 // accepted share of the swaps between rungs i and i+1, all ensembles together
	Barrier      float64   // Λ, the sum of the rejection rates: about 2Λ+2 rungs are best (Syed et al. 2022)
	RoundTrips   int       // of replicas from the coldest rung to the hottest and back, all ensembles together
	Scans        int       // of each ensemble after the warm-up
	MeanEnergy   []float64 // ⟨E⟩ per rung
	VarEnergy    []float64 // Var E per rung: heat capacity is VarEnergy/T²
}

// An ensemble is one replica per rung.
type ensemble struct {
	d          Density
	rng        *rand.Rand
	source     *rand.PCG
	kernels    []Kernel
	states     []*State
	steps      []dualAveraging
	covariance []*covariance
	energy     []moments
	replica    []int // which replica is at each rung
	fromHot    []bool
	roundTrips int
	rejected   []float64 // sums of 1 − acceptance of the swaps
	tried      []float64
	scans      int
	options    Options
}

// RunTempered draws from exp(−E/T) by non-reversible parallel tempering (Syed,
// Bouchard-Côté, Deligiannidis and Doucet 2022): every scan moves each rung by
// one step of the kernel and then swaps neighbours, the even pairs and the odd
// ones in turn, which carries replicas through the ladder ballistically.
//
// o.Chains independent ensembles run in parallel; the warm-up of o.Warmup scans
// goes in rounds of doubling length, after each of which the temperatures
// between the ends are moved so that all swaps are equally likely, and step
// sizes and metrics are tuned rung by rung. Results and errors are as those of
// [Run], except that a tempered result cannot be continued.
func RunTempered(ctx context.Context, density func(chain int) (Density, error), kernel Kernel, l Ladder, o Options) (*Tempered, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("tempering: %w", err)
	}
	if l.Rungs < 2 || !(l.Hottest > o.Temperature) || math.IsInf(l.Hottest, 0) {
		return nil, fmt.Errorf("tempering: expected at least 2 rungs and a hottest temperature above %g, got %d and %g", o.Temperature, l.Rungs, l.Hottest)
	}
	densities, err := makeDensities(density, o.Chains)
	if err != nil {
		return nil, err
	}
	temperatures := make([]float64, l.Rungs)
	for i := range temperatures {
		share := float64(i) / float64(l.Rungs-1)
		temperatures[i] = o.Temperature * math.Pow(l.Hottest/o.Temperature, share)
	}
	ensembles := make([]*ensemble, o.Chains)
	err = parallel(ctx, o.Chains, func(_ context.Context, i int) (err error) {
		ensembles[i], err = newEnsemble(densities[i], kernel, temperatures, i, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	if temperatures, err = warmLadder(ctx, ensembles, temperatures, o); err != nil {
		return nil, err
	}
	return drawTempered(ctx, ensembles, temperatures, o)
}

func newEnsemble(d Density, kernel Kernel, temperatures []float64, chain int, o Options) (*ensemble, error) {
	n := len(temperatures)
	source := rand.NewPCG(o.Seed, uint64(chain))
	e := &ensemble{d: d, options: o, source: source, rng: rand.New(source), replica: make([]int, n), fromHot: make([]bool, n),
		rejected: make([]float64, n-1), tried: make([]float64, n-1)}
	for i, t := range temperatures {
		o.Temperature = t
		s, err := startState(d, kernel, chain, e.rng, o)
		if err != nil {
			return nil, err
		}
		e.states = append(e.states, s)
		e.kernels = append(e.kernels, kernel)
		e.replica[i] = i
		e.energy = append(e.energy, newMoments(1))
		e.covariance = append(e.covariance, newCovariance(d.Dim(), o.Dense))
		e.steps = append(e.steps, dualAveraging{})
	}
	return e, nil
}

// scan takes one step at every rung and tries one half of the swaps.
func (e *ensemble) scan(tuning bool, record func(Info) error) error {
	for i, s := range e.states {
		info, err := e.kernels[i].Step(e.d, s, e.rng)
		if err != nil {
			return fmt.Errorf("temperature %g: %w", s.Temperature, err)
		}
		if t, ok := e.kernels[i].(tunable); ok && tuning {
			e.kernels[i] = t.withLeapfrogStep(e.steps[i].update(info.Acceptance))
			e.covariance[i].add(s.Theta)
		}
		if i == 0 && record != nil {
			if err := record(info); err != nil {
				return err
			}
		}
	}
	for i := e.scans % 2; i+1 < len(e.states); i += 2 {
		e.swap(i)
	}
	e.scans++
	for i, s := range e.states {
		e.energy[i].add([]float64{s.Energy})
	}
	cold, hot := e.replica[0], e.replica[len(e.replica)-1]
	if e.fromHot[cold] {
		e.roundTrips++
	}
	e.fromHot[cold], e.fromHot[hot] = false, true
	return nil
}

// swap exchanges the positions of rungs i and i+1 or not; the momenta stay,
// being distributed by the temperature of the rung.
func (e *ensemble) swap(i int) {
	a, b := e.states[i], e.states[i+1]
	accept := acceptance((1/a.Temperature - 1/b.Temperature) * (a.Energy - b.Energy))
	e.tried[i]++
	e.rejected[i] += 1 - accept
	if e.rng.Float64() >= accept {
		return
	}
	a.Theta, b.Theta = b.Theta, a.Theta
	a.Gradient, b.Gradient = b.Gradient, a.Gradient
	a.Energy, b.Energy = b.Energy, a.Energy
	e.replica[i], e.replica[i+1] = e.replica[i+1], e.replica[i]
}

// forget clears what the scans so far have counted.
func (e *ensemble) forget() {
	clear(e.rejected)
	clear(e.tried)
	e.roundTrips = 0
	for i := range e.energy {
		e.energy[i] = newMoments(1)
		e.fromHot[i] = false
	}
}

// begin starts a round of tuning: a new search for each step, with the metric
// of the round before if that was long enough.
func (e *ensemble) begin() error {
	e.forget()
	for i, s := range e.states {
		t, ok := e.kernels[i].(tunable)
		if !ok {
			continue
		}
		if e.covariance[i].N >= 50 {
			m := e.covariance[i].metric(s.Temperature)
			if err := m.prepare(len(s.Theta)); err != nil {
				return err
			}
			t = t.withMetric(m)
		}
		h, err := reasonableStep(e.d, s, t.metric(), t.leapfrogStep(), e.rng)
		if err != nil {
			return fmt.Errorf("temperature %g: %w", s.Temperature, err)
		}
		e.steps[i] = newDualAveraging(e.options.target(t), h)
		e.kernels[i] = t.withLeapfrogStep(h)
		e.covariance[i] = newCovariance(len(s.Theta), e.covariance[i].product != nil)
	}
	return nil
}

// warmLadder runs the warm-up and returns the adapted temperatures.
func warmLadder(ctx context.Context, ensembles []*ensemble, temperatures []float64, o Options) ([]float64, error) {
	for left, round := o.Warmup, 32; left > 0; round *= 2 {
		length := round
		if left < 3*round { // the next, doubled, would not fit
			length = left
		}
		left -= length
		err := parallel(ctx, len(ensembles), func(ctx context.Context, i int) error {
			e := ensembles[i]
			if err := e.begin(); err != nil {
				return err
			}
			tick, flush := batched(o.Progress)
			defer flush()
			for range length {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := e.scan(true, nil); err != nil {
					return err
				}
				tick()
			}
			for i, k := range e.kernels {
				if t, ok := k.(tunable); ok {
					e.kernels[i] = t.withLeapfrogStep(e.steps[i].final())
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		temperatures = adaptLadder(temperatures, rejectionRates(ensembles))
		for _, e := range ensembles {
			for i, s := range e.states {
				s.Temperature = temperatures[i]
			}
		}
	}
	return temperatures, nil
}

func rejectionRates(ensembles []*ensemble) []float64 {
	rates := make([]float64, len(ensembles[0].rejected))
	for i := range rates {
		var rejected, tried float64
		for _, e := range ensembles {
			rejected += e.rejected[i]
			tried += e.tried[i]
		}
		rates[i] = rejected / max(tried, 1)
	}
	return rates
}

// adaptLadder moves the inner temperatures so that each pair has an equal share
// of the communication barrier, interpolating the cumulative rejection rate
// linearly in log T. Rates below 1 % count as 1 %, so that the ladder never
// collapses.
func adaptLadder(temperatures, rates []float64) []float64 {
	n := len(temperatures)
	barrier := make([]float64, n)
	for i, r := range rates {
		barrier[i+1] = barrier[i] + max(r, 0.01)
	}
	adapted := slices.Clone(temperatures)
	for i, at := 1, 0; i < n-1; i++ {
		want := barrier[n-1] * float64(i) / float64(n-1)
		for barrier[at+1] < want {
			at++
		}
		share := (want - barrier[at]) / (barrier[at+1] - barrier[at])
		adapted[i] = temperatures[at] * math.Pow(temperatures[at+1]/temperatures[at], share)
	}
	return adapted
}

func drawTempered(ctx context.Context, ensembles []*ensemble, temperatures []float64, o Options) (*Tempered, error) {
	r := newResult(ensembles[0].d, o)
	err := parallel(ctx, len(ensembles), func(_ context.Context, i int) error {
		c, err := ensembles[i].draw(ctx, r, o)
		r.Chains[i] = c
		return err
	})
	if err != nil {
		return nil, err
	}
	t := &Tempered{Result: r, Temperatures: temperatures, Scans: math.MaxInt}
	rates := rejectionRates(ensembles)
	t.Barrier = floats.Sum(rates)
	for _, rate := range rates {
		t.SwapRates = append(t.SwapRates, 1-rate)
	}
	for _, e := range ensembles {
		t.RoundTrips += e.roundTrips
		t.Scans = min(t.Scans, e.energy[0].N)
	}
	for i := range temperatures {
		all := newMoments(1)
		for _, e := range ensembles {
			all.join(e.energy[i])
		}
		t.MeanEnergy = append(t.MeanEnergy, all.Mean[0])
		t.VarEnergy = append(t.VarEnergy, all.M2[0]/float64(max(all.N-1, 1)))
	}
	return t, ctx.Err()
}

// draw records the coldest rung as a chain.
func (e *ensemble) draw(ctx context.Context, r *Result, o Options) (*Chain, error) {
	e.forget()
	k := e.d.Dim()
	c := &Chain{State: e.states[0], Kernel: named{e.kernels[0]}, Moments: newMoments(len(r.Names)), Total: newMoments(1),
		Centre: make([]float64, k), Weights: make([]float64, k)}
	copy(c.Centre, e.states[0].Theta)
	for i := range c.Weights {
		c.Weights[i] = 1
		if seen := e.covariance[0].moments; seen.N > 1 && seen.M2[i] > 0 {
			c.Centre[i], c.Weights[i] = seen.Mean[i], seen.M2[i]/(float64(seen.N-1)*o.Temperature)
		}
	}
	reporter, _ := e.d.(Reporter)
	rec := recorder{Chain: c, d: e.d, reporter: reporter, out: make([]float64, len(r.Names)), result: r}
	tick, flush := batched(o.Progress)
	defer flush()
	for c.Moments.N < o.Draws {
		if c.Moments.N%r.Thin == 0 && ctx.Err() != nil {
			break
		}
		if err := e.scan(false, func(info Info) error { return rec.record(info, e.rng) }); err != nil {
			return nil, err
		}
		tick()
	}
	var err error
	c.Generator, err = e.source.MarshalBinary()
	return c, err
}
