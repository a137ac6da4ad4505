package ising

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// clusters is Swendsen-Wang on bits (1 is up), for any of the lattices. The
// bonds of a word are drawn together. Sites that bonds along a row join are a
// run; clusters are found by union-find over runs, half as many as there are
// sites at the critical point, and turned by words.
//
// A row is one or more words. Where two or more small lattices fit into one
// word, they stand there side by side, each with bonds of its own.
type clusters struct {
	model       Model
	temperature float64
	replicas    int
	rng         *rand.PCG
	words       int      // words a row
	spins       []uint64 // row by row
	used        uint64   // the bits of a row's last word that hold sites
	last        uint64   // the bits of the last word in the last column
	wrap        uint     // from there to the first column, in bits of a word
	against     uint64   // all ones when J < 0: bonds join opposite spins
	bond        uint64   // 2^64 times the probability of a bond between friends
	sweeps      int      // so far

	// The runs of the sweep in hand. That of a bit is before[word] plus the
	// number of starts in the word up to the bit, less one.
	starts []uint64
	before []uint32
	parent []uint32 // a run of lower or equal number in the same cluster
	along  []uint64 // bonds of a row
	sums   []int64  // in a field: a cluster's magnetisation, at its root
}

// clusterReplicas is how many replicas of a size share the words of one chain.
func clusterReplicas(size int) int { return max(1, 64/size) }

// newClusters makes a number of replicas in one chain, at most clusterReplicas.
func newClusters(m Model, temperature float64, replicas int, rng *rand.PCG) *clusters {
	c := &clusters{model: m, temperature: temperature, replicas: replicas, rng: rng, words: (m.Size + 63) / 64,
		wrap: uint(m.Size-1) % 64, bond: bondProbability(m, temperature)}
	for r := range replicas {
		c.last |= 1 << (uint(r*m.Size) + c.wrap)
	}
	c.used = ^uint64(0) >> bits.LeadingZeros64(c.last)
	if m.Coupling < 0 {
		c.against = ^uint64(0)
	}
	c.spins, c.starts = make([]uint64, m.Size*c.words), make([]uint64, m.Size*c.words)
	c.before, c.along = make([]uint32, m.Size*c.words), make([]uint64, c.words)
	return c
}

// bondProbability is the Fortuin-Kasteleyn probability of a bond between
// friends, times 2^64.
func bondProbability(m Model, temperature float64) uint64 {
	p := -math.Expm1(-2 * math.Abs(m.Coupling) / temperature)
	return uint64(math.Min(math.Ldexp(p, 64), math.Nextafter(math.Ldexp(1, 64), 0)))
}

// fill sets the starting configuration: random when hot, else the ground
// state of the coupling's sign on the square and honeycomb lattices.
func (c *clusters) fill(hot bool) {
	const even = 0x5555555555555555
	for i := range c.spins {
		switch {
		case hot:
			c.spins[i] = c.rng.Uint64()
		case c.against != 0:
			c.spins[i] = even << (i / c.words % 2)
		default:
			c.spins[i] = ^uint64(0)
		}
		c.spins[i] &= c.mask(i % c.words)
	}
}

// mask holds the sites of word w of a row.
func (c *clusters) mask(w int) uint64 {
	if w == c.words-1 {
		return c.used
	}
	return ^uint64(0)
}

func (c *clusters) row(of []uint64, y int) []uint64 { return of[y*c.words : (y+1)*c.words] }

// right returns the right neighbours of word w of a row.
func (c *clusters) right(row []uint64, w int) uint64 {
	if w < c.words-1 {
		return row[w]>>1 | row[w+1]<<63
	}
	return row[w]>>1&^c.last | row[0]<<c.wrap&c.last
}

// friends has a one for each of the two spins that a bond may join.
func (c *clusters) friends(a, b uint64, w int) uint64 { return ^(a ^ b ^ c.against) & c.mask(w) }

// vertical holds the sites of word w of row y with a neighbour below.
func (m Model) vertical(y int) uint64 {
	if m.Lattice == Honeycomb { // a brick wall; see Model.neighbours
		return 0x5555555555555555 << (y % 2)
	}
	return ^uint64(0)
}

// draw keeps each bit with the probability of a bond: it compares as many
// random numbers with it as there are bits, digit by digit from the highest,
// until all differ.
func (c *clusters) draw(candidates uint64) (kept uint64) {
	equal := candidates
	for p := c.bond; p != 0 && equal != 0; p <<= 1 {
		x, digit := c.rng.Uint64(), -(p >> 63)
		kept |= equal &^ x & digit
		equal &= ^(x ^ digit)
	}
	return kept
}

// sweep turns every cluster with its Boltzmann probability, count times
// (Swendsen and Wang 1987).
func (c *clusters) sweep(count, _ int) {
	for range count {
		c.parent = c.parent[:0]
		for y := range c.model.Size {
			c.joinRow(y)
			if y > 0 {
				c.joinRows(y-1, y)
			}
		}
		c.joinRows(c.model.Size-1, 0)
		if c.model.Field == 0 {
			c.chance()
		} else {
			c.weigh()
		}
		c.turn()
	}
	c.sweeps += count
}

// joinRow draws the bonds along a row and appends its runs.
func (c *clusters) joinRow(y int) {
	row, starts, before := c.row(c.spins, y), c.row(c.starts, y), c.before[y*c.words:]
	carry := uint64(0)
	for w, s := range row {
		bonds := c.draw(c.friends(s, c.right(row, w), w))
		c.along[w] = bonds
		starts[w] = ^(bonds<<1 | carry) & c.mask(w)
		if carry = bonds >> 63; w == 0 { // first columns start a run
			starts[0] |= c.firsts()
		}
		before[w] = uint32(len(c.parent))
		for range bits.OnesCount64(starts[w]) {
			c.parent = append(c.parent, uint32(len(c.parent)))
		}
	}
	end := c.words - 1
	for around := c.along[end] & c.last; around != 0; around &= around - 1 {
		b := uint(bits.TrailingZeros64(around))
		c.unite(run(starts[end], before[end], b), run(starts[0], before[0], b-c.wrap))
	}
}

// firsts are the bits of the first word in the first column.
func (c *clusters) firsts() uint64 { return c.last >> c.wrap }

// run returns the run of bit b of a word.
func run(starts uint64, before uint32, b uint) uint32 {
	return before + uint32(bits.OnesCount64(starts&(2<<b-1))) - 1
}

// joinRows draws the bonds between row y and the one below, and joins runs.
func (c *clusters) joinRows(y, below int) {
	upper, lower := c.row(c.spins, y), c.row(c.spins, below)
	startsU, startsL := c.row(c.starts, y), c.row(c.starts, below)
	beforeU, beforeL := c.before[y*c.words:], c.before[below*c.words:]
	down := c.model.vertical(y)
	for w, s := range upper {
		bonds := c.draw(c.friends(s, lower[w], w) & down)
		// Where both rows join two neighbours, one bond between them will do.
		bonds &^= bonds << 1 &^ (startsU[w] | startsL[w])
		for ; bonds != 0; bonds &= bonds - 1 {
			b := uint(bits.TrailingZeros64(bonds))
			c.unite(run(startsU[w], beforeU[w], b), run(startsL[w], beforeL[w], b))
		}
	}
	if c.model.Lattice != Triangular {
		return
	}
	for w, s := range upper { // to the site below and one to the right
		bonds := c.draw(c.friends(s, c.right(lower, w), w))
		for ; bonds != 0; bonds &= bonds - 1 {
			b := uint(bits.TrailingZeros64(bonds))
			v, to := w, b+1
			switch {
			case w == c.words-1 && c.last>>b&1 == 1:
				v, to = 0, b-c.wrap
			case to == 64:
				v, to = w+1, 0
			}
			c.unite(run(startsU[w], beforeU[w], b), run(startsL[v], beforeL[v], to))
		}
	}
}

// unite joins the clusters of two runs, by Rem's algorithm (Dijkstra 1976):
// both climb, the higher one first, until they meet or one is a root.
func (c *clusters) unite(a, b uint32) {
	parent := c.parent
	for {
		pa, pb := parent[a], parent[b]
		if pa == pb {
			return
		}
		if pa < pb {
			a, b, pa, pb = b, a, pb, pa
		}
		parent[a] = pb
		if a == pa {
			return
		}
		a = pa
	}
}

// chance turns parents into what happens to each run, 1 when its cluster turns
// around: a root takes a bit of its own, the others their parent's, which is
// known by then.
func (c *clusters) chance() {
	var coins uint64
	for i, p := range c.parent {
		if i%64 == 0 {
			coins = c.rng.Uint64()
		}
		c.parent[i] = uint32(coins & 1)
		c.parent[i] = c.parent[p]
		coins >>= 1
	}
}

// weigh is chance in a field: a cluster takes one of its orientations with its
// Boltzmann weight.
func (c *clusters) weigh() {
	c.sums = append(c.sums[:0], make([]int64, len(c.parent))...)
	for i, p := range c.parent {
		c.parent[i] = c.parent[p]
	}
	for i, starts := range c.starts {
		ups, mask := c.spins[i], c.mask(i%c.words)
		add := func(label uint32, from uint64) { // a run's part of the word
			c.sums[c.parent[label]] += int64(2*bits.OnesCount64(ups&from) - bits.OnesCount64(from))
		}
		label := c.before[i]
		if head := starts&-starts - 1; head&mask != 0 {
			add(label-1, head&mask)
		}
		for ; starts != 0; starts &= starts - 1 {
			next := starts & (starts - 1)
			add(label, (next&-next-1)&^(starts&-starts-1)&mask)
			label++
		}
	}
	rng := rand.New(c.rng)
	for i, p := range c.parent {
		if int(p) == i {
			c.parent[i] = 0
			if rng.Float64()*(1+math.Exp(2*c.model.Field*float64(c.sums[i])/c.temperature)) < 1 {
				c.parent[i] = 1
			}
		} else {
			c.parent[i] = c.parent[p]
		}
	}
}

// turn turns the spins of the runs that turn around.
func (c *clusters) turn() {
	label, turning := 0, uint64(0)
	for i, starts := range c.starts {
		changes, whole := uint64(0), -turning // a run may go on from the word before
		for ; starts != 0; starts &= starts - 1 {
			next := uint64(c.parent[label])
			label++
			changes |= (next ^ turning) << (bits.TrailingZeros64(starts) & 63)
			turning = next
		}
		for shift := 1; shift < 64; shift *= 2 {
			changes ^= changes << shift
		}
		c.spins[i] ^= (changes ^ whole) & c.mask(i%c.words)
	}
}

// tally adds up the replicas; see [packed.tally].
func (c *clusters) tally(to sums, _ int) {
	const even = 0x5555555555555555
	size := c.model.Size
	clear(to.magnetisation)
	clear(to.staggered)
	clear(to.bonds)
	for y := range size {
		row, below := c.row(c.spins, y), c.row(c.spins, (y+1)%size)
		down := c.model.vertical(y)
		for w, s := range row {
			mask := c.mask(w)
			along, across := (s^c.right(row, w))&mask, (s^below[w])&mask&down
			var diagonal uint64
			if c.model.Lattice == Triangular {
				diagonal = (s ^ c.right(below, w)) & mask
			}
			odd := c.mask(w) &^ (even << (y % 2))
			for r := range to.magnetisation {
				own := ^uint64(0)
				if c.words == 1 {
					own = ^uint64(0) >> (64 - size) << (r * size)
				}
				to.magnetisation[r] += int64(bits.OnesCount64(s & own))
				if to.staggered != nil {
					to.staggered[r] += int64(bits.OnesCount64((s ^ odd) & own))
				}
				to.bonds[r] += int64(bits.OnesCount64(along&own) + bits.OnesCount64(across&own) + bits.OnesCount64(diagonal&own))
			}
		}
	}
	sites := int64(size) * int64(size)
	for r := range to.magnetisation {
		to.magnetisation[r] = 2*to.magnetisation[r] - sites
		to.bonds[r] = 2*to.bonds[r] - sites*int64(c.model.degree())/2
	}
	for r := range to.staggered {
		to.staggered[r] = 2*to.staggered[r] - sites
	}
}

func (c *clusters) spin(x, y, replica int) int8 {
	at := replica*c.model.Size + x // more than one replica has one word a row
	return int8(c.spins[y*c.words+at/64]>>(at%64)&1)*2 - 1
}

func (c *clusters) settle() {}

func (c *clusters) updated() int64 {
	return int64(c.sweeps) * int64(c.model.sites()) * int64(c.replicas)
}

func (c *clusters) snapshot(s *stateRecord) {
	text, _ := c.rng.MarshalBinary() // a PCG has no error to report
	s.RNG, s.Flipped = [][]byte{text}, int64(c.sweeps)
}

func (c *clusters) restore(s *stateRecord) error {
	if len(s.RNG) != 1 {
		return fmt.Errorf("expected one random stream, got %d", len(s.RNG))
	}
	c.sweeps = int(s.Flipped)
	return c.rng.UnmarshalBinary(s.RNG[0])
}

func (c *clusters) transfer(move func([]uint64) error) error {
	if err := inParts(c.spins, move); err != nil {
		return err
	}
	for i, s := range c.spins {
		if s&^c.mask(i%c.words) != 0 {
			return errors.New("spins outside the lattice")
		}
	}
	return nil
}
