package cooling

import (
	"fmt"
	"math"
)

// NewBlock returns HotSpot's block model: four nodes for every block (die, interface,
// spreader, sink) and twelve for the package around them.
func NewBlock(c Config, f *Floorplan) (*Model, error) {
	w, h := f.Size()
	if err := checkSizes(c, w, h); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Kind: "block", Width: w, Height: h, Layers: 4, Warnings: append(c.Warnings(), f.Warnings()...), die: 1}
	slabs := []Slab{c.Chip, c.Interface, c.Spreader, c.Sink}
	prefixes := []string{"", "iface_", "hsp_", "hsink_"}
	n := len(f.Blocks)
	for l, slab := range slabs {
		for _, b := range f.Blocks {
			area := b.Width * b.Height
			stored := slab.Material.Capacity * slab.Thickness * area
			if l == 3 {
				stored += convectionShare * c.Capacity / (c.Sink.Side * c.Sink.Side) * area
			}
			i := m.node(stored)
			block := blockNodes{name: prefixes[l] + b.Name, layer: l, nodes: []int32{i}}
			if l == 0 {
				block.trace, block.shares = b.Name, []share{{i, 1}}
			}
			m.blocks = append(m.blocks, block)
		}
	}
	r := newRim(c, w, h)
	first := m.addRim(r)
	for l, slab := range slabs {
		for i, b := range f.Blocks {
			at := int32(l*n + i)
			area := b.Width * b.Height
			through := conductance(slab.Material.Conductivity, slab.Thickness, area)
			if l < 3 {
				m.connect(at, at+int32(n), through)
			} else {
				m.toward[at] = series(through, area/(c.Resistance*c.Sink.Side*c.Sink.Side))
			}
			for j := range i {
				m.connect(at, int32(l*n+j), beside(slab, b, f.Blocks[j]))
			}
		}
	}
	m.border(f, c.Spreader, 2*n, first+spreaderSide, r.spreader)
	m.border(f, c.Sink, 3*n, first+innerSink, r.inner)
	for i := range m.capacity { // dense: the order does not matter
		m.order = append(m.order, int32(i))
	}
	return m, m.finite()
}

// near reports whether two lengths are the same, as HotSpot has it.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// beside is the lateral conductance between two blocks of a layer: from centre to
// centre through the edge they share, 0 if they share none.
func beside(slab Slab, a, b Block) float64 {
	half := func(b Block, sideways bool) float64 { // of a whole edge, a metre of it
		if sideways {
			return conductance(slab.Material.Conductivity, b.Width/2, slab.Thickness)
		}
		return conductance(slab.Material.Conductivity, b.Height/2, slab.Thickness)
	}
	high, wide := overlap(a.Y, a.Height, b.Y, b.Height), overlap(a.X, a.Width, b.X, b.Width)
	switch {
	case high > 1e-6 && (near(a.X+a.Width, b.X) || near(b.X+b.Width, a.X)):
		return series(high*half(a, true), high*half(b, true))
	case wide > 1e-6 && (near(a.Y+a.Height, b.Y) || near(b.Y+b.Height, a.Y)):
		return series(wide*half(a, false), wide*half(b, false))
	}
	return 0
}

// border connects the blocks at the chip's edges, whose nodes begin at base, to the
// four nodes of the periphery. The resistance of the rim is shared among them by
// their conductances.
func (m *Model) border(f *Floorplan, slab Slab, base int, first int32, resistance [4]float64) {
	for side := range 4 {
		var at []int32
		var halves []float64
		total := 0.0
		for i, b := range f.Blocks {
			half := conductance(slab.Material.Conductivity, b.Width/2, b.Height*slab.Thickness)
			touches := near(b.X, 0)
			switch side {
			case east:
				touches = near(b.X+b.Width, m.Width)
			case north, south:
				half = conductance(slab.Material.Conductivity, b.Height/2, b.Width*slab.Thickness)
				if touches = near(b.Y, 0); side == north {
					touches = near(b.Y+b.Height, m.Height)
				}
			}
			if touches {
				at, halves, total = append(at, int32(base+i)), append(halves, half), total+half
			}
		}
		for k, g := range halves {
			m.connect(at[k], first+int32(side), 1/(1/g+resistance[side]*total/g))
		}
	}
}

// finite looks for conductances and capacities that are not.
func (m *Model) finite() error {
	bad := func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) || x < 0 }
	for _, e := range m.edges {
		if bad(e.g) {
			return fmt.Errorf("the conductance between nodes %d and %d is %v", e.i, e.j, e.g)
		}
	}
	for i, c := range m.capacity {
		if bad(c) || bad(m.toward[i]) {
			return fmt.Errorf("node %d has the capacity %v and the conductance %v to the ambient", i, c, m.toward[i])
		}
	}
	return nil
}
