package ising

import (
	"math"
	"math/rand/v2"
)

// graph is the general path: any of the lattices, one spin a byte, updated
// site by site or cluster by cluster.
type graph struct {
	model       Model
	algorithm   Algorithm
	temperature float64
	rng         *rand.PCG
	spins       []int8
	bond        uint64      // 2^64 times the probability of a bond in a cluster
	accept      [26]float64 // flip probability at 13 spin + aligned sum + 6
	queue       []place     // room for a cluster
	members     []place     // the cluster in hand, in the queue
	perSweep    int         // Wolff clusters a sweep; 0 until warmed up
	flipped     int64       // sites updated so far
}

// newGraph makes a lattice with all spins up.
func newGraph(m Model, temperature float64, a Algorithm, rng *rand.PCG) *graph {
	sites := m.sites()
	g := &graph{model: m, temperature: temperature, algorithm: a, rng: rng, spins: make([]int8, sites), queue: make([]place, 64)}
	for i := range g.spins {
		g.spins[i] = 1
	}
	g.bond = bondProbability(m, temperature)
	for class := range g.accept {
		spin, sum := float64(2*(class/13)-1), float64(class%13-6)
		cost := 2 * spin * (m.Coupling*sum + m.Field) / temperature
		g.accept[class] = math.Min(1, math.Exp(-cost))
		if a == HeatBath || cost == 0 { // a free flip always taken may cycle for ever; see leastRate
			g.accept[class] = 1 / (1 + math.Exp(cost))
		}
	}
	return g
}

// fill sets the starting configuration: random when hot, else the ground
// state of the coupling's sign on the square and honeycomb lattices.
func (g *graph) fill(hot bool) {
	size := g.model.Size
	var word uint64
	for i := range g.spins {
		x, y := i%size, i/size
		switch {
		case hot:
			if i%64 == 0 {
				word = g.rng.Uint64()
			}
			g.spins[i] = int8(word>>(i%64)&1)*2 - 1
		case g.model.Coupling < 0 && (x+y)%2 == 1:
			g.spins[i] = -1
		default:
			g.spins[i] = 1
		}
	}
}

// around returns the columns and the rows beside a site of a torus.
func around(x, y, width, height int) (left, right, above, below int) {
	left, right, above, below = x-1, x+1, y-1, y+1
	if x == 0 {
		left = width - 1
	}
	if right == width {
		right = 0
	}
	if y == 0 {
		above = height - 1
	}
	if below == height {
		below = 0
	}
	return
}

// neighbours writes the neighbours of site y·L + x and returns how many.
func (m Model) neighbours(x, y int, out *[6]uint32) int {
	return m.Lattice.neighbours(x, y, m.Size, m.Size, out)
}

// neighbours is of a torus of any width and height; both are even if honeycomb.
func (l Lattice) neighbours(x, y, width, height int, out *[6]uint32) int {
	left, right, above, below := around(x, y, width, height)
	row := y * width
	out[0], out[1] = uint32(row+left), uint32(row+right)
	if l == Honeycomb { // a brick wall: each site has one of its vertical bonds
		if (x+y)%2 == 0 {
			out[2] = uint32(below*width + x)
		} else {
			out[2] = uint32(above*width + x)
		}
		return 3
	}
	out[2], out[3] = uint32(above*width+x), uint32(below*width+x)
	if l != Triangular { // a square lattice with one diagonal
		return 4
	}
	out[4], out[5] = uint32(above*width+left), uint32(below*width+right)
	return 6
}

// degree is the number of neighbours of a site.
func (m Model) degree() int {
	switch m.Lattice {
	case Honeycomb:
		return 3
	case Triangular:
		return 6
	}
	return 4
}

// sweep updates about as many spins as there are sites, count times. A Wolff sweep is a
// fixed number of clusters once warmed up, so that when it ends does not
// depend on what it flipped.
func (g *graph) sweep(count, _ int) {
	for range count {
		g.sweepOnce()
	}
}

func (g *graph) sweepOnce() {
	switch g.algorithm {
	case Wolff:
		if g.perSweep > 0 {
			for range g.perSweep {
				g.wolff()
			}
			return
		}
		for done := 0; done < len(g.spins); {
			done += g.wolff()
		}
	default:
		g.sweepSites()
	}
}

// settle ends the warm-up: Wolff clusters a sweep are fixed by the mean size
// of the next clusters.
func (g *graph) settle() {
	if g.algorithm != Wolff || g.perSweep > 0 {
		return
	}
	clusters, done := 0, 0
	for done < 4*len(g.spins) {
		done += max(1, g.wolff())
		clusters++
	}
	g.perSweep = max(1, clusters*len(g.spins)/done)
}

// sweepSites visits every site in order.
func (g *graph) sweepSites() {
	var out [6]uint32
	size := g.model.Size
	rng := rand.New(g.rng)
	for y := range size {
		for x := range size {
			i := y*size + x
			var sum int8
			for _, j := range out[:g.model.neighbours(x, y, &out)] {
				sum += g.spins[j]
			}
			p := g.accept[13*int(g.spins[i]+1)/2+int(sum)+6]
			if p >= 1 || rng.Float64() < p {
				g.spins[i] = -g.spins[i]
			}
		}
	}
	g.flipped += int64(len(g.spins))
}

// place packs a site's index and coordinates, so that its neighbours cost no
// division.
type place uint64

func at(x, y, row int) place { return place(row+x)<<32 | place(y<<16|x) }

func (p place) x() int    { return int(p & (MaxSize - 1)) }
func (p place) y() int    { return int(p >> 16 & (MaxSize - 1)) }
func (p place) site() int { return int(p >> 32) }

// places writes the neighbours of a site; see [Model.neighbours].
func (m Model) places(p place, out *[8]place) {
	size, x, y := m.Size, p.x(), p.y()
	left, right, above, below := around(x, y, size, size)
	row, rowAbove, rowBelow := y*size, above*size, below*size
	out[0], out[1] = at(left, y, row), at(right, y, row)
	if m.Lattice == Honeycomb {
		if (x+y)%2 == 1 {
			below, rowBelow = above, rowAbove
		}
		out[2] = at(x, below, rowBelow)
		return
	}
	out[2], out[3] = at(x, above, rowAbove), at(x, below, rowBelow)
	if m.Lattice == Triangular {
		out[4], out[5] = at(left, above, rowAbove), at(right, below, rowBelow)
	}
}

// grow fills g.members with the cluster that holds the site: satisfied bonds to
// sites outside are kept with the Fortuin-Kasteleyn probability. The spins of
// the cluster become ±2, which no bond takes for a friend again.
func (g *graph) grow(x, y int) {
	model, spins, queue, count := g.model, g.spins, g.queue, 1
	sign := int8(1)
	if model.Coupling < 0 {
		sign = -1
	}
	var near [8]place
	degree, high := model.degree(), g.bond>>48
	queue[0] = at(x, y, y*model.Size)
	spins[queue[0].site()] *= 2
	for head := 0; head < count; head++ {
		if count+len(near) > len(queue) {
			queue = append(queue, make([]place, len(queue))...)
		}
		p := queue[head]
		friend := sign * (spins[p.site()] >> 1)
		model.places(p, &near)
		// Sixteen random bits a bond; where they equal the probability's, more.
		var random uint64
		for k, q := range near[:degree] {
			if k%4 == 0 {
				random = g.rng.Uint64()
			}
			chunk := random & 0xffff
			random >>= 16
			join := (chunk - high) >> 63
			if chunk == high && g.rng.Uint64() < g.bond<<16 {
				join = 1
			}
			// Without branches: half of them would be mispredicted.
			s := &spins[q.site()]
			join &= uint64(uint32(uint8(*s^friend))-1) >> 31 // and *s == friend
			*s += friend * int8(join)
			queue[count] = q
			count += int(join)
		}
	}
	g.queue, g.members = queue, queue[:count]
}

// clusterField returns H times the cluster's magnetisation.
func (g *graph) clusterField() float64 {
	var sum int64
	for _, p := range g.members {
		sum += int64(g.spins[p.site()] >> 1)
	}
	return g.model.Field * float64(sum)
}

// wolff grows one cluster from a random site, flips it (in a field: with the
// Metropolis probability) and returns its size (Wolff 1989).
func (g *graph) wolff() int {
	size := g.model.Size
	rng := rand.New(g.rng)
	g.grow(rng.IntN(size), rng.IntN(size))
	flip := g.model.Field == 0 || rng.Float64() < math.Exp(-2*g.clusterField()/g.temperature)
	for _, p := range g.members {
		s := &g.spins[p.site()]
		if *s >>= 1; flip {
			*s = -*s
		}
	}
	g.flipped += int64(len(g.members))
	return len(g.members)
}

// tally adds up the lattice; see [packed.tally].
func (g *graph) tally(to sums, _ int) {
	size := g.model.Size
	var total, staggered, agree int64
	for y := range size {
		row, below := g.spins[y*size:][:size], g.spins[(y+1)%size*size:][:size]
		right := row[0] // and its lower neighbours, from the last site on
		var beneath, beside int8
		if g.model.Lattice == Triangular {
			beside = below[0]
		}
		for x := size - 1; x >= 0; x-- {
			s := row[x]
			beneath = below[x]
			if g.model.Lattice == Honeycomb && (x+y)%2 == 1 {
				beneath = 0
			}
			total += int64(s)
			staggered += int64(s) * int64(1-2*((x+y)&1))
			agree += int64(s * (right + beneath + beside))
			right = s
			if g.model.Lattice == Triangular {
				beside = beneath
			}
		}
	}
	to.magnetisation[0], to.bonds[0] = total, -agree
	if to.staggered != nil {
		to.staggered[0] = staggered
	}
}

func (g *graph) spin(x, y, _ int) int8 { return g.spins[y*g.model.Size+x] }
