package ising

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// packed is a square lattice, or up to 512 replicas of one, one spin a bit
// (1 is up), updated colour by colour of the checkerboard.
//
// Site k of row y of colour c is at x = 2k + (y+c)&1, so the sites above and
// below it have the same k in the other colour, and of those beside it one has
// the same k and the other k−1 (even shift) or k+1. Two layouts share
// everything but that shift:
//
//   - one lattice: the sites of a row are consecutive bits, and a halo holds a
//     copy of the bit from the other end on either side;
//   - replicas: a site is a block of 512 bits, one a replica, and a halo holds
//     a copy of the block from the other end on either side.
type packed struct {
	size     int  // L
	half     int  // sites of one colour in a row, L/2
	replicas int  // 1, or the number of lanes in use
	inLanes  bool // the layout with a replica in each bit
	blocks   int  // blocks a row
	stride   int  // words from one row to the next
	spins    [2][]uint64
	bands    []band
	depth    int // passes that a thread takes its bands through at a time
	rule     updateRule
	sweeps   int // so far
}

// rowStart is the index of a row's first word in its stride; the halo is
// before it.
const rowStart = lanes

// cacheWords is a part of a core's second-level cache: 256 KiB.
const cacheWords = 1 << 15

// band is a run of rows with its own random streams, so that the result does
// not depend on how many threads share the lattice.
type band struct {
	low, high int // rows
	state     lanesState
	rng       rand.PCG // residual events
	gap       int64    // lanes to the next residual event
	events    []event
	passes    atomic.Int64 // over its colours in this sweep
	_         [64]byte     // so that neighbours do not share a cache line
}

// event is a lane of the row in hand that takes part in the residual.
type event struct {
	lane int64
	old  uint64 // the spin before the update
}

// updateRule is what the couplings, the field and the temperature make of one
// algorithm.
type updateRule struct {
	heatBath bool
	flip     uint64 // all ones when J < 0
	planes   int
	bits     planeBits
	common   float64 // share of residual events that add to the higher threshold
	rare     float64
	rate     float64 // probability of a residual event in a lane
	field    *fieldRule
}

// newUpdateRule prepares the thresholds of a model at a temperature.
func newUpdateRule(m Model, temperature float64, heatBath bool) updateRule {
	if m.Field != 0 {
		return newFieldUpdateRule(m, temperature, heatBath)
	}
	k := math.Abs(m.Coupling) / temperature
	common, rare := math.Exp(-4*k), math.Exp(-8*k)
	if heatBath {
		common, rare = 1/(1+math.Exp(4*k)), 1/(1+math.Exp(8*k))
	}
	r := updateRule{heatBath: heatBath}
	if m.Coupling < 0 {
		r.flip = ^uint64(0)
	}
	planes, split, rate := choosePlanes([]float64{common, rare})
	r.planes, r.rate = planes, rate
	for k := range planes {
		r.bits[k] = [2]uint64{split[0].digit(k), split[1].digit(k)}
	}
	if !heatBath {
		r.rate = math.Max(rate, leastRate(m.Size))
	}
	if r.rate > 0 {
		r.common, r.rare = split[0].residual/r.rate, split[1].residual/r.rate
	}
	return r
}

// packedShape returns the layout without its memory.
func packedShape(size int, inLanes bool) *packed {
	p := &packed{size: size, half: size / 2, inLanes: inLanes}
	if inLanes {
		p.blocks = p.half
		p.stride = lanes * (p.blocks + 2)
	} else {
		p.blocks = (p.half + blockBits - 1) / blockBits
		p.stride = lanes * (p.blocks + 1)
	}
	return p
}

// newPacked makes a lattice, or the given number of replicas of one in lanes
// (at most 512), all spins up.
func newPacked(size, replicas int, inLanes bool) *packed {
	p := packedShape(size, inLanes)
	p.replicas = replicas
	for c := range p.spins {
		p.spins[c] = make([]uint64, size*p.stride+lanes)
	}
	// At least 64 blocks of one colour in a band: two microseconds of work.
	count := min(max(size*p.blocks/64, 1), size/2, 4096)
	// As many bands as there are passes are in use at a time; let them fit into
	// the cache of a core.
	p.depth = min(max(cacheWords*count/(2*size*p.stride), 2), 64)
	p.bands = make([]band, count)
	for i := range p.bands {
		p.bands[i].low, p.bands[i].high = i*size/count, (i+1)*size/count
	}
	return p
}

// seed gives every band its streams. Call it after the rule is set.
func (p *packed) seed(rng *rand.Rand) {
	for i := range p.bands {
		b := &p.bands[i]
		for w := range b.state {
			for l := range b.state[w] {
				b.state[w][l] = rng.Uint64()
			}
		}
		b.rng.Seed(rng.Uint64(), rng.Uint64())
		b.gap = geometric(rand.New(&b.rng), p.rule.rate)
	}
}

// fill sets the starting configuration: spins drawn from rng when hot, else
// a ground state: all up, or staggered for J < 0.
func (p *packed) fill(hot, staggered bool, rng *rand.Rand) {
	for c := range p.spins {
		for y := range p.size {
			row := p.row(c, y)
			for i := range row {
				switch {
				case hot:
					row[i] = rng.Uint64()
				case c == 1 && staggered:
					row[i] = 0
				default:
					row[i] = ^uint64(0)
				}
			}
			p.halo(c, y)
		}
	}
}

// row returns the words of row y of a colour.
func (p *packed) row(c, y int) []uint64 {
	start := y*p.stride + rowStart
	return p.spins[c][start : start+lanes*p.blocks]
}

// halo renews the copies of a row's ends.
func (p *packed) halo(c, y int) {
	s := p.spins[c][y*p.stride:]
	last := lanes * p.blocks
	if p.inLanes {
		copy(s[:rowStart], s[last:last+lanes])
		copy(s[rowStart+last:rowStart+last+lanes], s[rowStart:2*rowStart])
		return
	}
	first := s[rowStart] & 1
	end := s[rowStart+(p.half-1)/64] >> ((p.half - 1) % 64) & 1
	w, b := rowStart+p.half/64, p.half%64
	s[w] = s[w]&^(1<<b) | first<<b
	s[rowStart-1] = end << 63
}

// at returns the word and the bit of a site.
func (p *packed) at(x, y, replica int) (colour, index int, bit uint) {
	colour = (x + y) & 1
	k := x / 2
	base := y*p.stride + rowStart
	if p.inLanes {
		return colour, base + k*lanes + replica/64, uint(replica % 64)
	}
	return colour, base + k/64, uint(k % 64)
}

// spin returns +1 or −1.
func (p *packed) spin(x, y, replica int) int8 {
	c, i, b := p.at(x, y, replica)
	return int8(p.spins[c][i]>>b&1)*2 - 1
}

// sweep updates every site count times, with the given number of threads.
//
// A pass over one colour of a band needs its neighbours to have the pass before
// behind them, and no more of the lattice. So each thread takes a part of the
// bands through several passes at a time, which stay in its cache, and waits
// for the threads beside it only. A band's random streams are its own: the
// result does not depend on the order.
func (p *packed) sweep(count, threads int) {
	p.sweeps += count
	for i := range p.bands {
		p.bands[i].passes.Store(0)
	}
	threads = min(threads, len(p.bands))
	part := func(t int) {
		low, high := t*len(p.bands)/threads, (t+1)*len(p.bands)/threads
		for first := 0; first < 2*count; first += p.depth {
			p.climb(low, high, first, min(p.depth, 2*count-first))
		}
	}
	if threads == 1 {
		part(0)
		return
	}
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() { part(t) })
	}
	wg.Wait()
}

// climb takes bands through some passes along a slope: pass k goes from band
// low+k to high+k-1 (around the torus) and follows one band behind pass k-1.
// What a thread leaves out at its low end, that of the bands below adds.
func (p *packed) climb(low, high, first, passes int) {
	width, n := high-low, len(p.bands)
	for step := range width + 2*(passes-1) {
		for k := max(0, (step-width+2)/2); k <= min(step/2, passes-1); k++ {
			i := (low + step - k) % n
			p.bands[i].wait(first + k)
			p.bands[(i+n-1)%n].wait(first + k)
			p.bands[(i+1)%n].wait(first + k)
			p.updateBand((first+k)%2, &p.bands[i])
			p.bands[i].passes.Add(1)
		}
	}
}

// wait returns when the band has so many passes of the sweep behind it. It
// waits awake at first, as falling asleep takes longer than most waits.
func (b *band) wait(passes int) {
	for spins := 0; int(b.passes.Load()) < passes; spins++ {
		switch {
		case spins > 20_000: // another process has the processor of the thread we wait for
			time.Sleep(50 * time.Microsecond)
		case spins > 1000:
			runtime.Gosched()
		}
	}
}

// updateBand updates the sites of one colour in a band.
func (p *packed) updateBand(c int, b *band) {
	kernel := fastest.metropolis
	if p.rule.heatBath {
		kernel = fastest.heatBath
	}
	job := rowJob{blocks: p.blocks, planes: p.rule.planes, bits: &p.rule.bits, state: &b.state, flip: p.rule.flip}
	for y := b.low; y < b.high; y++ {
		p.aim(&job, c, y)
		if b.gap >= int64(p.blocks*blockBits) && p.rule.field == nil {
			b.gap -= int64(p.blocks * blockBits)
			kernel(&job)
		} else {
			p.updateWithResidual(&job, b, kernel)
		}
		p.halo(c, y)
	}
}

// aim points a job at row y of a colour.
func (p *packed) aim(job *rowJob, c, y int) {
	other := p.spins[1-c]
	start := y*p.stride + rowStart
	up, down := start-p.stride, start+p.stride
	if y == 0 {
		up += p.size * p.stride
	}
	if y == p.size-1 {
		down -= p.size * p.stride
	}
	job.dst, job.up, job.down, job.side = &p.spins[c][start], &other[up], &other[down], &other[start]
	even := (y+c)&1 == 0 // the neighbour beyond is k−1
	switch {
	case p.inLanes && even:
		job.left, job.right, job.shiftL, job.shiftR = &other[start-lanes], job.side, 0, 64
	case p.inLanes:
		job.left, job.right, job.shiftL, job.shiftR = &other[start+lanes], job.side, 0, 64
	case even:
		job.left, job.right, job.shiftL, job.shiftR = job.side, &other[start-1], 1, 63
	default:
		job.left, job.right, job.shiftL, job.shiftR = &other[start+1], job.side, 63, 1
	}
}

// updateWithResidual updates a row in which residual events fall: after the
// kernel, an event turns a lane that the planes did not pass with the
// probability that the planes left out.
func (p *packed) updateWithResidual(job *rowJob, b *band, kernel rowKernel) {
	length := int64(p.blocks * blockBits)
	rng := rand.New(&b.rng)
	b.events = b.events[:0]
	for ; b.gap < length; b.gap += 1 + geometric(rng, p.rule.rate) {
		b.events = append(b.events, event{b.gap, *word(job.dst, int(b.gap/64)) >> (b.gap % 64) & 1})
	}
	b.gap -= length
	if p.rule.field != nil {
		p.rule.field.row(job)
	} else {
		kernel(job)
	}
	for _, e := range b.events {
		w, bit := int(e.lane/64), uint(e.lane%64)
		spin := word(job.dst, w)
		if p.rule.passes(job, e, *spin>>bit&1, w, bit, rng) {
			*spin ^= 1 << bit
		}
	}
}

// passes decides a residual event at a lane whose spin is now.
func (r *updateRule) passes(job *rowJob, e event, now uint64, w int, bit uint, rng *rand.Rand) bool {
	n1, n2, n3, n4 := job.neighbours(w)
	up := n1>>bit&1 + n2>>bit&1 + n3>>bit&1 + n4>>bit&1
	if r.field != nil {
		return r.field.passes(e.old, now, up, rng)
	}
	var aligned uint64 // neighbours that agree with the spin as it stands
	if aligned = up; now == 0 {
		aligned = 4 - up
	}
	if !r.heatBath && now != e.old { // flipped: what was aligned is against it now
		return aligned == 2 && rng.Uint64()>>63 == 1
	}
	switch aligned {
	case 4:
		return rng.Float64() < r.rare
	case 3:
		return rng.Float64() < r.common
	}
	return false
}

// tally adds up each replica of the lattice.
func (p *packed) tally(to sums, threads int) {
	if p.inLanes {
		p.tallyLanes(to)
		return
	}
	var wg sync.WaitGroup
	even, odd, unsatisfied := make([]int64, threads), make([]int64, threads), make([]int64, threads)
	for t := range threads {
		wg.Go(func() { even[t], odd[t], unsatisfied[t] = p.tallyRows(t*p.size/threads, (t+1)*p.size/threads) })
	}
	wg.Wait()
	sites := int64(p.size) * int64(p.size)
	m, staggered, bonds := -sites, int64(0), -2*sites
	for t := range threads {
		m += 2 * (even[t] + odd[t])
		staggered += 2 * (even[t] - odd[t])
		bonds += 2 * unsatisfied[t]
	}
	to.magnetisation[0], to.bonds[0] = m, bonds
	if to.staggered != nil {
		to.staggered[0] = staggered
	}
}

// tallyRows counts, in some rows, the spins up of either colour and the
// unsatisfied bonds of colour 0.
func (p *packed) tallyRows(low, high int) (even, odd, unsatisfied int64) {
	words := (p.half + 63) / 64
	tail := ^uint64(0) >> (64*words - p.half)
	var job rowJob
	for y := low; y < high; y++ {
		p.aim(&job, 0, y)
		for i := range words {
			mask := ^uint64(0)
			if i == words-1 {
				mask = tail
			}
			s := *word(job.dst, i)
			a, b, c, d := job.neighbours(i)
			unsatisfied += int64(bits.OnesCount64((s^a)&mask) + bits.OnesCount64((s^b)&mask) +
				bits.OnesCount64((s^c)&mask) + bits.OnesCount64((s^d)&mask))
			even += int64(bits.OnesCount64(s & mask))
			odd += int64(bits.OnesCount64(c & mask))
		}
	}
	return even, odd, unsatisfied
}
