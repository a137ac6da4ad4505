package ising

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Config is a simulation: a model at some temperatures, each by the same
// number of independent replicas.
type Config struct {
	Model        Model     `json:"model"`
	Temperatures []float64 `json:"temperatures"` // in units of the coupling, k_B = 1
	Algorithm    Algorithm `json:"algorithm"`
	Sweeps       int       `json:"sweeps"`   // after the warm-up; one sweep updates about every spin once
	Warmup       int       `json:"warmup"`   // sweeps before the first measurement
	Interval     int       `json:"interval"` // sweeps from one measurement to the next
	Replicas     int       `json:"replicas"`
	Hot          bool      `json:"hot"` // start from random spins, else from the ground state
	Seed         uint64    `json:"seed"`
}

// Bounds that keep a wrong number from becoming a long wait.
const (
	maxSweeps   = 1 << 40
	maxReplicas = 1 << 20
	maxPoints   = 1 << 16
)

// Validate says what is wrong with a configuration.
func (c Config) Validate() error {
	if err := c.Model.Validate(); err != nil {
		return err
	}
	if err := c.Algorithm.validate(); err != nil {
		return err
	}
	if len(c.Temperatures) == 0 || len(c.Temperatures) > maxPoints {
		return fmt.Errorf("%d temperatures: expected 1 to %d", len(c.Temperatures), maxPoints)
	}
	for _, t := range c.Temperatures {
		if err := ValidateTemperature(t); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		name            string
		value, low, top int
	}{
		{"sweeps", c.Sweeps, 1, maxSweeps}, {"warm-up sweeps", c.Warmup, 0, maxSweeps},
		{"sweeps between measurements", c.Interval, 1, maxSweeps}, {"replicas", c.Replicas, 1, maxReplicas},
	} {
		if n.value < n.low || n.value > n.top {
			return fmt.Errorf("%s %d: expected %d to %d", n.name, n.value, n.low, n.top)
		}
	}
	if c.Interval > c.Sweeps {
		return fmt.Errorf("%d sweeps between measurements: expected at most the %d sweeps to measure in", c.Interval, c.Sweeps)
	}
	if strength := math.Abs(c.Model.Field) * float64(c.Model.sites()) / slices.Min(c.Temperatures); c.Algorithm == Wolff && strength > 8 {
		return fmt.Errorf("algorithm wolff in a field of %g on %d spins: large clusters hardly ever turn against it; expected sw, metropolis or heatbath",
			c.Model.Field, c.Model.sites())
	}
	if n := len(c.Temperatures) * c.Replicas; n > maxPoints*256 {
		return fmt.Errorf("%d configurations in all: expected at most %d", n, maxPoints*256)
	}
	return nil
}

// onBits reports whether the square lattice's bit kernels serve.
func (c Config) onBits() bool {
	return c.Model.Lattice == Square && (c.Algorithm == Metropolis || c.Algorithm == HeatBath)
}

// perChain returns how many replicas share a chain: up to 512 in the lanes
// of a small lattice when that costs less than one chain each, what fits into
// a word for Swendsen-Wang, else 1.
func (c Config) perChain() int {
	if c.Algorithm == SwendsenWang {
		return min(c.Replicas, clusterReplicas(c.Model.Size))
	}
	if !c.onBits() {
		return 1
	}
	half := c.Model.Size / 2
	groups := (c.Replicas + blockBits - 1) / blockBits
	if half*groups < c.Replicas*((half+blockBits-1)/blockBits) {
		return min(c.Replicas, blockBits)
	}
	return 1
}

// memory returns the bytes that the configurations take.
func (c Config) memory() int64 {
	per := c.perChain()
	chains := int64(len(c.Temperatures)) * int64((c.Replicas+per-1)/per)
	if c.onBits() {
		return c.savedBytes()
	}
	sites := int64(c.Model.Size) * int64(c.Model.Size)
	switch c.Algorithm {
	case Wolff:
		sites *= 9 // the cluster in hand may hold every site
	case SwendsenWang:
		sites *= 5 * int64(per) // every site may be a run
	}
	return chains * sites
}

// lattice is a chain's configuration and how it moves.
type lattice interface {
	sweep(count, threads int)
	settle() // ends the warm-up
	tally(to sums, threads int)
	spin(x, y, replica int) int8              // +1 or −1
	updated() int64                           // spins updated so far
	snapshot(s *stateRecord)                  // what a checkpoint needs besides the spins
	restore(s *stateRecord) error             // the inverse
	transfer(move func([]uint64) error) error // the spins, in words, to or from a file
}

// chain is one or more replicas at one temperature that move in step.
type chain struct {
	point    int
	replicas int
	lattice  lattice
	done     int           // sweeps, warm-up included
	series   batches       // of the mean of the replicas; where they are fewer than minReplicas
	groups   []moments     // else: sums over the measurements of groups of the replicas
	measured int           // measurements so far
	busy     time.Duration // in sweeps
	updates  int64         // spins updated in that time
	settled  bool
	sums     sums
}

// maxGroups bounds the groups that the replicas of a chain are measured in.
const maxGroups = 64

// perGroup returns how many replicas of a chain are measured together.
func (c Config) perGroup() int { return (c.perChain() + maxGroups - 1) / maxGroups }

// Simulation is a running set of chains. It is not safe for concurrent use;
// it uses runtime.GOMAXPROCS(0) threads itself. The same configuration gives
// the same bits whatever the number of threads and the processor.
type Simulation struct {
	Config Config
	chains []*chain
}

// New validates a configuration and prepares its chains.
func New(c Config) (*Simulation, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if available, ok := availableMemory(); ok && c.memory() > available {
		return nil, fmt.Errorf("%d configurations of size %d need %.1f GB of memory, %.1f GB are free",
			len(c.Temperatures)*c.Replicas, c.Model.Size, float64(c.memory())/1e9, float64(available)/1e9)
	}
	s := &Simulation{Config: c}
	per := c.perChain()
	for point := range c.Temperatures {
		for first := 0; first < c.Replicas; first += per {
			s.chains = append(s.chains, newChain(c, point, first, min(per, c.Replicas-first)))
		}
	}
	return s, nil
}

func newChain(c Config, point, first, replicas int) *chain {
	ch := &chain{point: point, replicas: replicas, sums: sums{magnetisation: make([]int64, replicas), bonds: make([]int64, replicas)}}
	if c.Model.staggered() {
		ch.sums.staggered = make([]int64, replicas)
	}
	if per := c.perGroup(); c.Replicas >= minReplicas {
		ch.groups = make([]moments, (replicas+per-1)/per)
	}
	t := c.Temperatures[point]
	source := rand.NewPCG(c.Seed, uint64(point)<<20|uint64(first))
	if c.Algorithm == SwendsenWang {
		cl := newClusters(c.Model, t, replicas, source)
		cl.fill(c.Hot)
		ch.lattice = cl
		return ch
	}
	if !c.onBits() {
		g := newGraph(c.Model, t, c.Algorithm, source)
		g.fill(c.Hot)
		ch.lattice = g
		return ch
	}
	p := newPacked(c.Model.Size, replicas, c.perChain() > 1)
	p.rule = newUpdateRule(c.Model, t, c.Algorithm == HeatBath)
	rng := rand.New(source)
	p.seed(rng)
	p.fill(c.Hot, c.Model.Coupling < 0, rng)
	ch.lattice = p
	return ch
}

// ErrInterrupted is returned by Advance when its context ends: what was
// measured until then stands.
var ErrInterrupted = errors.New("interrupted")

// Total is the number of sweeps of each chain, warm-up included.
func (s *Simulation) Total() int { return s.Config.Warmup + s.Config.Sweeps }

// Done is the number of sweeps that every chain has behind it.
func (s *Simulation) Done() int {
	least := s.Total()
	for _, c := range s.chains {
		least = min(least, c.done)
	}
	return least
}

// Advance moves every chain to the given number of sweeps, at most Total.
func (s *Simulation) Advance(ctx context.Context, sweeps int) error {
	sweeps = min(sweeps, s.Total())
	threads := runtime.GOMAXPROCS(0)
	workers := min(threads, len(s.chains))
	work := make(chan *chain)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range work {
				c.advance(ctx, s.Config, sweeps, threads/workers)
			}
		})
	}
	for _, c := range s.chains {
		work <- c
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil && s.Done() < sweeps {
		return fmt.Errorf("%w after %d of %d sweeps: %w", ErrInterrupted, s.Done(), s.Total(), ctx.Err())
	}
	return nil
}

// Extend makes the measurement longer: by a run that was saved at its end, say.
func (s *Simulation) Extend(sweeps int) error {
	c := s.Config
	c.Sweeps = sweeps
	if sweeps < s.Config.Sweeps {
		return fmt.Errorf("%d sweeps: expected at least the %d there are", sweeps, s.Config.Sweeps)
	}
	if err := c.Validate(); err != nil {
		return err
	}
	s.Config = c
	return nil
}

// Run moves every chain to its end.
func (s *Simulation) Run(ctx context.Context) error { return s.Advance(ctx, s.Total()) }

// advance runs one chain; a cancelled context stops it between sweeps.
func (c *chain) advance(ctx context.Context, config Config, sweeps, threads int) {
	for c.done < sweeps && ctx.Err() == nil {
		if c.done >= config.Warmup && !c.settled {
			c.lattice.settle()
			c.settled = true
		}
		count := min(c.burst(config), sweeps-c.done)
		before, start := c.lattice.updated(), time.Now()
		c.lattice.sweep(count, threads)
		c.busy += time.Since(start)
		c.updates += c.lattice.updated() - before
		c.done += count
		if since := c.done - config.Warmup; since > 0 && since%config.Interval == 0 {
			c.measure(config, threads)
		}
	}
}

// burst is how many sweeps to do in one go: to the end of the warm-up or the
// next measurement, and no more than a cancelled context can wait for.
func (c *chain) burst(config Config) int {
	const sites = 1 << 26 // in a burst, some milliseconds to a second
	longest := max(1, sites/config.Model.sites())
	if c.done < config.Warmup {
		return min(longest, config.Warmup-c.done)
	}
	return min(longest, config.Interval-(c.done-config.Warmup)%config.Interval)
}

// measure adds the present configuration to the series, or to the groups.
func (c *chain) measure(config Config, threads int) {
	m := config.Model
	c.lattice.tally(c.sums, threads)
	c.measured++
	bonds, along := m.reference()
	order := c.sums.magnetisation
	if m.staggered() {
		order = c.sums.staggered
	}
	var sum moments
	per := config.perGroup()
	for i := range order {
		e := m.energy(c.sums.bonds[i]-bonds, c.sums.magnetisation[i]-along)
		x := math.Abs(float64(order[i])) / float64(m.sites())
		one := moments{E: e, E2: e * e, AbsM: x, M2: x * x, M4: x * x * x * x}
		sum.add(one, 1)
		if c.groups != nil {
			c.groups[i/per].add(one, 1)
		}
	}
	if c.groups == nil {
		c.series.add(sum.over(float64(c.replicas)))
	}
}
