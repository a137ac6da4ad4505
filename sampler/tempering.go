package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
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
	Temperatures []float64        // as adapted, from the coldest
	SwapRates    []float64        // accepted share of the swaps between rungs i and i+1, all ensembles together
	Swaps        []thermo.Reading // the same, with errors
	Barrier      float64          // Λ, the sum of the rejection rates: about 2Λ+2 rungs are best (Syed et al. 2022)
	RoundTrips   int              // of replicas from the coldest rung to the hottest and back, all ensembles together
	Scans        int              // of each ensemble after the warm-up
	Energies     []thermo.Reading // ⟨E⟩ per rung
	Capacities   []thermo.Reading // Var E/T² per rung, the heat capacity
}

// An Ensemble is the replicas of one chain of parallel tempering, one per rung, the
// coldest first, and what they have done since the warm-up.
type Ensemble struct {
	Kernels    []named   `json:"kernels"`
	States     []*State  `json:"states"` // the first is the chain's
	Energy     []moments `json:"energy"`
	Blocks     []blocks  `json:"blocks"`  // of E, per rung
	Blocks2    []blocks  `json:"blocks2"` // of E²
	Swaps      []blocks  `json:"swaps"`   // of the acceptance
	Replica    []int     `json:"replica"` // which replica is at each rung
	FromHot    []bool    `json:"from_hot"`
	RoundTrips int       `json:"round_trips"`
	Rejected   []float64 `json:"rejected"` // sums of 1 − acceptance of the swaps
	Tried      []float64 `json:"tried"`
	Scans      int       `json:"scans"` // with the warm-up
}

// blocks are the means of a series over blocks of one length, which doubles
// whenever there are 256 of them.
type blocks struct {
	Length int       `json:"length"`
	Means  []float64 `json:"means"`
	Sum    float64   `json:"sum"` // of the block that is not full
	Steps  int       `json:"steps"`
}

func (b *blocks) add(x float64) {
	b.Length = max(b.Length, 1)
	b.Sum += x
	if b.Steps++; b.Steps < b.Length {
		return
	}
	b.Means = append(b.Means, b.Sum/float64(b.Steps))
	b.Sum, b.Steps = 0, 0
	if len(b.Means) == 256 {
		b.halve()
	}
}

func (b *blocks) halve() {
	for i := range len(b.Means) / 2 {
		b.Means[i] = (b.Means[2*i] + b.Means[2*i+1]) / 2
	}
	b.Means = b.Means[:len(b.Means)/2]
	b.Length *= 2
}

// level returns the means of several series, over blocks of one length.
func level(all []blocks) [][]float64 {
	longest := 0
	for _, b := range all {
		longest = max(longest, b.Length)
	}
	means := make([][]float64, len(all))
	shortest := math.MaxInt
	for i, b := range all {
		b.Means = slices.Clone(b.Means)
		for b.Length < longest && len(b.Means) > 0 {
			b.halve()
		}
		means[i] = b.Means
		shortest = min(shortest, len(b.Means))
	}
	for i := range means {
		means[i] = means[i][:shortest]
	}
	return means
}

// blockReading is a mean whose error is that of the means of blocks. variance is
// that of a single value, which the effective sample size counts by.
func blockReading(name, unit string, value, variance float64, means [][]float64) thermo.Reading {
	r := thermo.Reading{Name: name, Unit: unit, Value: value, StdErr: MCSE(means)}
	if math.IsNaN(r.StdErr) {
		r.Invalid = "too few draws"
		return r
	}
	r.ESS = variance / (r.StdErr * r.StdErr)
	r.DoF = max(math.Floor(ESS(means))-1, 1)
	return r
}

// A tuning is an ensemble during the warm-up.
type tuning struct {
	*Ensemble
	d          Density
	rng        *rand.Rand
	source     *rand.PCG
	steps      []dualAveraging
	covariance []*covariance
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
// [Run]; [Extend] continues them.
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
	tunings := make([]*tuning, o.Chains)
	err = parallel(ctx, o.Chains, func(_ context.Context, i int) (err error) {
		tunings[i], err = newTuning(densities[i], kernel, temperatures, i, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err = warmLadder(ctx, tunings, temperatures, o); err != nil {
		return nil, err
	}
	r := newResult(densities[0], o)
	for i, t := range tunings {
		if r.Chains[i], err = t.chain(len(r.Names)); err != nil {
			return nil, fmt.Errorf("sampling: chain %d: %w", i+1, err)
		}
	}
	if err := r.draw(ctx, densities, o.Draws, o.Progress); err != nil && ctx.Err() == nil {
		return nil, err
	}
	return r.Tempered(), ctx.Err()
}

func newTuning(d Density, kernel Kernel, temperatures []float64, chain int, o Options) (*tuning, error) {
	n := len(temperatures)
	source := rand.NewPCG(o.Seed, uint64(chain))
	t := &tuning{d: at(d, o.Temperature), options: o, source: source, rng: rand.New(source),
		Ensemble: &Ensemble{Replica: make([]int, n), FromHot: make([]bool, n), Rejected: make([]float64, n-1), Tried: make([]float64, n-1),
			Blocks: make([]blocks, n), Blocks2: make([]blocks, n), Swaps: make([]blocks, n-1)}}
	for i, temperature := range temperatures {
		o.Temperature = temperature
		s, err := startState(at(t.d, temperature), kernel, chain, t.rng, o)
		if err != nil {
			return nil, err
		}
		t.States = append(t.States, s)
		t.Kernels = append(t.Kernels, named{kernel})
		t.Replica[i] = i
		t.Energy = append(t.Energy, newMoments(1))
		t.covariance = append(t.covariance, newCovariance(d.Dim(), o.Dense))
		t.steps = append(t.steps, dualAveraging{})
	}
	return t, nil
}

// scan takes one step at every rung, which observe is told of, and tries one half
// of the swaps. A Transformed d must be a potential already.
func (e *Ensemble) scan(d Density, rng *rand.Rand, observe func(rung int, info Info) error) error {
	for i, s := range e.States {
		info, err := e.Kernels[i].Step(at(d, s.Temperature), s, rng)
		if err != nil {
			return fmt.Errorf("temperature %g: %w", s.Temperature, err)
		}
		if err := observe(i, info); err != nil {
			return err
		}
	}
	for i := e.Scans % 2; i+1 < len(e.States); i += 2 {
		e.swap(d, i, rng)
	}
	e.Scans++
	for i, s := range e.States {
		energy := s.trueEnergy(d)
		e.Energy[i].add([]float64{energy})
		e.Blocks[i].add(energy)
		e.Blocks2[i].add(energy * energy)
	}
	cold, hot := e.Replica[0], e.Replica[len(e.Replica)-1]
	if e.FromHot[cold] {
		e.RoundTrips++
	}
	e.FromHot[cold], e.FromHot[hot] = false, true
	return nil
}

// swap exchanges the positions of rungs i and i+1 or not; the momenta stay,
// being distributed by the temperature of the rung.
func (e *Ensemble) swap(d Density, i int, rng *rand.Rand) {
	a, b := e.States[i], e.States[i+1]
	accept := acceptance((1/a.Temperature - 1/b.Temperature) * (a.trueEnergy(d) - b.trueEnergy(d)))
	e.Tried[i]++
	e.Rejected[i] += 1 - accept
	e.Swaps[i].add(accept)
	if rng.Float64() >= accept {
		return
	}
	a.Theta, b.Theta = b.Theta, a.Theta
	a.Gradient, b.Gradient = b.Gradient, a.Gradient
	a.Energy, b.Energy = b.Energy, a.Energy
	a.move(d, b.Temperature)
	b.move(d, a.Temperature)
	e.Replica[i], e.Replica[i+1] = e.Replica[i+1], e.Replica[i]
}

// forget clears what the scans so far have counted.
func (e *Ensemble) forget() {
	clear(e.Rejected)
	clear(e.Tried)
	clear(e.Swaps)
	e.RoundTrips = 0
	for i := range e.Energy {
		e.Energy[i], e.Blocks[i], e.Blocks2[i] = newMoments(1), blocks{}, blocks{}
		e.FromHot[i] = false
	}
}

// begin starts a round of tuning: a new search for each step, with the metric
// of the round before if that was long enough.
func (t *tuning) begin() error {
	t.forget()
	for i, s := range t.States {
		k, ok := t.Kernels[i].Kernel.(tunable)
		if !ok {
			continue
		}
		if t.covariance[i].N >= 50 {
			m := t.covariance[i].metric(s.Temperature)
			if err := m.prepare(len(s.Theta)); err != nil {
				return err
			}
			k = k.withMetric(m)
		}
		h, err := reasonableStep(at(t.d, s.Temperature), s, k.metric(), k.leapfrogStep(), t.rng)
		if err != nil {
			return fmt.Errorf("temperature %g: %w", s.Temperature, err)
		}
		t.steps[i] = newDualAveraging(t.options.target(k), h)
		t.Kernels[i] = named{k.withLeapfrogStep(h)}
		t.covariance[i] = newCovariance(len(s.Theta), t.covariance[i].product != nil)
	}
	return nil
}

// tune takes the step size that a step's acceptance asks for.
func (t *tuning) tune(rung int, info Info) error {
	if k, ok := t.Kernels[rung].Kernel.(tunable); ok {
		t.Kernels[rung] = named{k.withLeapfrogStep(t.steps[rung].update(info.Acceptance))}
		t.covariance[rung].add(t.States[rung].Theta)
	}
	return nil
}

// warmLadder runs the warm-up and leaves every rung at its adapted temperature.
func warmLadder(ctx context.Context, tunings []*tuning, temperatures []float64, o Options) error {
	ensembles := make([]*Ensemble, len(tunings))
	for i, t := range tunings {
		ensembles[i] = t.Ensemble
	}
	for left, round := o.Warmup, 32; left > 0; round *= 2 {
		length := round
		if left < 3*round { // the next, doubled, would not fit
			length = left
		}
		left -= length
		err := parallel(ctx, len(tunings), func(ctx context.Context, i int) error {
			t := tunings[i]
			if err := t.begin(); err != nil {
				return err
			}
			tick, flush := batched(o.Progress)
			defer flush()
			for range length {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := t.scan(t.d, t.rng, t.tune); err != nil {
					return err
				}
				tick()
			}
			for i := range t.Kernels {
				if k, ok := t.Kernels[i].Kernel.(tunable); ok {
					t.Kernels[i] = named{k.withLeapfrogStep(t.steps[i].final())}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		temperatures = adaptLadder(temperatures, rejectionRates(ensembles))
		for _, t := range tunings {
			for i, s := range t.States {
				from := s.Temperature
				s.Temperature = temperatures[i]
				s.move(t.d, from)
			}
		}
	}
	return nil
}

func rejectionRates(ensembles []*Ensemble) []float64 {
	rates := make([]float64, len(ensembles[0].Rejected))
	for i := range rates {
		var rejected, tried float64
		for _, e := range ensembles {
			rejected += e.Rejected[i]
			tried += e.Tried[i]
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

// Tempered returns what the replicas behind r have done, or nil if there are none.
func (r *Result) Tempered() *Tempered {
	var ensembles []*Ensemble
	for _, c := range r.Chains {
		if c.Ensemble == nil {
			return nil
		}
		ensembles = append(ensembles, c.Ensemble)
	}
	t := &Tempered{Result: r, Scans: math.MaxInt}
	rates := rejectionRates(ensembles)
	t.Barrier = floats.Sum(rates)
	for i, rate := range rates {
		t.SwapRates = append(t.SwapRates, 1-rate)
		t.Swaps = append(t.Swaps, blockReading("swap rate", "1", 1-rate, rate*(1-rate), level(pick(ensembles, func(e *Ensemble) blocks { return e.Swaps[i] }))))
	}
	for _, e := range ensembles {
		t.RoundTrips += e.RoundTrips
		t.Scans = min(t.Scans, e.Energy[0].N)
	}
	for i, s := range ensembles[0].States {
		all := newMoments(1)
		for _, e := range ensembles {
			all.join(e.Energy[i])
		}
		t.Temperatures = append(t.Temperatures, s.Temperature)
		mean, variance := all.Mean[0], all.M2[0]/float64(max(all.N-1, 1))
		energies := level(pick(ensembles, func(e *Ensemble) blocks { return e.Blocks[i] }))
		t.Energies = append(t.Energies, blockReading("energy", "energy", mean, variance, energies))
		squares := level(pick(ensembles, func(e *Ensemble) blocks { return e.Blocks2[i] }))
		t2 := s.Temperature * s.Temperature
		for j, block := range squares { // to those of (E − ⟨E⟩)²/T²
			for k, e := range energies[j] {
				block[k] = (block[k] - 2*mean*e + mean*mean) / t2
			}
		}
		// Of a normal E the variance of (E − ⟨E⟩)² is 2 Var(E)².
		t.Capacities = append(t.Capacities, blockReading("heat capacity", "1", variance/t2, 2*variance*variance/(t2*t2), squares))
	}
	return t
}

// pick returns one series of every ensemble.
func pick(ensembles []*Ensemble, series func(*Ensemble) blocks) []blocks {
	all := make([]blocks, len(ensembles))
	for i, e := range ensembles {
		all[i] = series(e)
	}
	return all
}

// chain is the coldest rung as a chain that has not drawn yet.
func (t *tuning) chain(names int) (*Chain, error) {
	t.forget()
	k := t.d.Dim()
	c := &Chain{State: t.States[0], Kernel: t.Kernels[0], Ensemble: t.Ensemble, Moments: newMoments(names), Total: newMoments(1),
		Centre: make([]float64, k), Weights: make([]float64, k)}
	copy(c.Centre, c.State.Theta)
	for i := range c.Weights {
		c.Weights[i] = 1
		if seen := t.covariance[0].moments; seen.N > 1 && seen.M2[i] > 0 {
			c.Centre[i], c.Weights[i] = seen.Mean[i], seen.M2[i]/(float64(seen.N-1)*t.options.Temperature)
		}
	}
	copy(c.Centre, t.options.centre)
	var err error
	c.Generator, err = t.source.MarshalBinary()
	return c, err
}
