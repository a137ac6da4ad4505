package cooling

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// The four sides of the package's periphery, in HotSpot's order.
const (
	west = iota
	east
	north
	south
)

// Nodes of the periphery: of the spreader, of the sink under it, and of the sink
// beyond it, each on four sides.
const (
	spreaderSide = 0
	innerSink    = 4
	outerSink    = 8
	periphery    = 12
)

// convectionShare scales the capacity of convection, which is lumped into the sink
// (HotSpot's C_FACTOR).
const convectionShare = 0.333

// A Model is a network of thermal nodes.
type Model struct {
	Config        Config
	Kind          string  // "block" or "grid"
	Width, Height float64 // of the chip
	Rows, Cols    int     // of the grid; 0 of the block model
	Layers        int     // with spreader and sink
	Warnings      []string

	edges    []edge
	toward   []float64 // conductance to the ambient of every node
	capacity []float64
	order    []int32
	blocks   []blockNodes
	die      int // layers of blocks that may dissipate come first; those below are package
	detailed bool

	joint []float64 // resistance of every cell of the layer above the spreader, K/W

	steady *factor // made when it is needed
}

// blockNodes is one named part of the model.
type blockNodes struct {
	name     string // as HotSpot prints it
	trace    string // as power traces name it; empty where no power goes
	layer    int
	shares   []share // of its power to nodes
	nodes    []int32 // whose temperatures are its
	reported string  // how they are mapped to one
}

type share struct {
	node   int32
	weight float64
}

// node adds a node and returns it.
func (m *Model) node(capacity float64) int32 {
	m.capacity = append(m.capacity, capacity)
	m.toward = append(m.toward, 0)
	return int32(len(m.capacity) - 1)
}

func (m *Model) connect(i, j int32, g float64) {
	if g > 0 {
		m.edges = append(m.edges, edge{i, j, g})
	}
}

// conductance of a path through a material: the inverse of HotSpot's getr.
func conductance(k, length, area float64) float64 { return k * area / length }

func series(a, b float64) float64 { return 1 / (1/a + 1/b) }

// checkSizes fails unless the chip fits on its package.
func checkSizes(c Config, width, height float64) error {
	switch {
	case width > c.Spreader.Side || height > c.Spreader.Side:
		return fmt.Errorf("the chip of %g × %g m is larger than its spreader of %g m%s", width, height, c.Spreader.Side, slip(max(width, height)/c.Spreader.Side))
	case c.Spreader.Side > c.Sink.Side:
		return fmt.Errorf("the spreader of %g m is larger than its sink of %g m%s", c.Spreader.Side, c.Sink.Side, slip(c.Spreader.Side/c.Sink.Side))
	}
	return nil
}

// slip asks about the unit where a length is out by about a thousand.
func slip(ratio float64) string {
	if ratio > 50 {
		return ": are its lengths in millimetres? They are taken as metres"
	}
	return ""
}

// A rim is the package around a chip of width w and height h: conductances
// and capacities of its twelve nodes (HotSpot, package model).
type rim struct {
	spreader, inner   [4]float64 // lateral resistance from the chip's edge to the spreader's and the inner sink's node
	across            [4]float64 // lateral resistance from inner to outer sink
	down              [4]float64 // resistance from spreader to inner sink
	innerAmbient      [4]float64
	outerAmbient      float64
	spreaderC, innerC [4]float64
	outerC            float64
}

func newRim(c Config, w, h float64) rim {
	var r rim
	sp, sink := c.Spreader, c.Sink
	resistance := func(m Material, length, area float64) float64 { return length / (m.Conductivity * area) }
	convection := func(area float64) float64 { return c.Resistance * sink.Side * sink.Side / area }
	stored := func(area float64) float64 {
		return sink.Material.Capacity*sink.Thickness*area + convectionShare*c.Capacity/(sink.Side*sink.Side)*area
	}
	outer := resistance(sink.Material, (sink.Side-sp.Side)/4, (sink.Side+3*sp.Side)/4*sink.Thickness)
	for side := range 4 {
		along, other := w, h // the chip's length across this side, and along it
		if side == north || side == south {
			along, other = h, w
		}
		gap := (sp.Side - along) / 4
		r.spreader[side] = resistance(sp.Material, gap, (sp.Side+3*other)/4*sp.Thickness)
		r.inner[side] = resistance(sink.Material, gap, (sp.Side+3*other)/4*sink.Thickness)
		r.across[side] = outer + resistance(sink.Material, gap, (3*sp.Side+other)/4*sink.Thickness)
		area := (sp.Side + other) * (sp.Side - along) / 4
		r.down[side] = resistance(sp.Material, sp.Thickness, area)
		r.innerAmbient[side] = resistance(sink.Material, sink.Thickness, area) + convection(area)
		r.spreaderC[side] = sp.Material.Capacity * sp.Thickness * area
		r.innerC[side] = stored(area)
	}
	area := (sink.Side*sink.Side - sp.Side*sp.Side) / 4
	r.outerAmbient = resistance(sink.Material, sink.Thickness, area) + convection(area)
	r.outerC = stored(area)
	return r
}

// addRim adds the package's nodes; edges to the chip's are the caller's.
func (m *Model) addRim(r rim) (first int32) {
	first = int32(len(m.capacity))
	for side := range 4 {
		m.node(r.spreaderC[side])
	}
	for side := range 4 {
		m.toward[m.node(r.innerC[side])] = 1 / r.innerAmbient[side]
	}
	for range 4 {
		m.toward[m.node(r.outerC)] = 1 / r.outerAmbient
	}
	for side := range int32(4) {
		if r.down[side] > 0 && !math.IsInf(r.down[side], 1) {
			m.connect(first+spreaderSide+side, first+innerSink+side, 1/r.down[side])
		}
		m.connect(first+innerSink+side, first+outerSink+side, 1/r.across[side])
	}
	for k := range periphery {
		m.blocks = append(m.blocks, blockNodes{name: fmt.Sprintf("inode_%d", k), layer: -1, nodes: []int32{first + int32(k)}})
	}
	return first
}

// Place says how much power goes to every node, from the power of named blocks.
// It fails when a name is not of a block that dissipates, and when such a block
// has no power given.
func (m *Model) Place(names []string) (func(power []float64) []float64, error) {
	index := map[string]int{}
	for i, b := range m.blocks {
		if b.trace != "" {
			index[b.trace] = i
		}
	}
	var to []int
	given := map[string]bool{}
	for _, name := range names {
		i, ok := index[name]
		if !ok {
			return nil, fmt.Errorf("the trace has power for %q, but the floorplan has no such block", name)
		}
		if given[name] {
			return nil, fmt.Errorf("the trace names %q twice", name)
		}
		given[name] = true
		to = append(to, i)
	}
	for _, b := range m.blocks {
		if b.trace != "" && !given[b.trace] {
			return nil, fmt.Errorf("block %q has no power in the trace", b.trace)
		}
	}
	return func(power []float64) []float64 {
		nodes := make([]float64, len(m.capacity))
		for i, p := range power {
			for _, s := range m.blocks[to[i]].shares {
				nodes[s.node] += p * s.weight
			}
		}
		return nodes
	}, nil
}

// Steady returns the temperature of every node, in kelvins, at constant power of the
// nodes.
func (m *Model) Steady(power []float64) ([]float64, error) {
	if m.steady == nil {
		f, err := factorise(m.toward, m.edges, m.order)
		if err != nil {
			return nil, err
		}
		m.steady = f
	}
	t := slices.Clone(power)
	for i, g := range m.toward {
		t[i] += g * m.Config.Ambient
	}
	m.steady.solve(t, make([]float64, len(t)))
	return t, nil
}

// stages of the singly diagonally implicit Runge-Kutta method of order two that
// damps the fastest modes (Alexander, SIAM Journal on Numerical Analysis 14, 1006,
// 1977), and how many of its steps make an interval.
const (
	stage    = 1 - math.Sqrt2/2
	substeps = 20
)

// Transient calls yield with the temperatures at the end of every interval of
// powers, of seconds each, from start. The slice is the same every time. When ctx
// ends it returns its error.
func (m *Model) Transient(ctx context.Context, start []float64, powers func(yield func(power []float64) bool), seconds float64, yield func(t []float64)) error {
	if !(seconds > 0) {
		return fmt.Errorf("transient: expected a positive interval, got %g s", seconds)
	}
	n, h := len(m.capacity), seconds/substeps
	diagonal := make([]float64, n)
	for i, c := range m.capacity {
		diagonal[i] = c/(stage*h) + m.toward[i]
	}
	f, err := factorise(diagonal, m.edges, m.order)
	if err != nil {
		return err
	}
	t := slices.Clone(start)
	first, second, flow, work := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	// slope solves C k = q(t + stage·h·k) for the rate of change at a stage.
	slope := func(at, source, k []float64) {
		m.inflow(at, source, flow)
		copy(k, flow)
		f.solve(k, work)
		for i := range k {
			k[i] /= stage * h
		}
	}
	at := make([]float64, n)
	for power := range powers {
		for range substeps {
			if err := ctx.Err(); err != nil {
				return err
			}
			slope(t, power, first)
			for i := range at {
				at[i] = t[i] + (1-stage)*h*first[i]
			}
			slope(at, power, second)
			for i := range t {
				t[i] += h * ((1-stage)*first[i] + stage*second[i])
			}
		}
		yield(t)
	}
	return nil
}

// inflow is the heat that flows into every node.
func (m *Model) inflow(t, power, flow []float64) {
	for i := range flow {
		flow[i] = power[i] + m.toward[i]*(m.Config.Ambient-t[i])
	}
	for _, e := range m.edges {
		q := e.g * (t[e.j] - t[e.i])
		flow[e.i] += q
		flow[e.j] -= q
	}
}

// A Temperature is that of one named part of the model.
type Temperature struct {
	Name   string
	Layer  int // -1 of the package's periphery
	Kelvin float64
	Die    bool // of a layer of the chip that may dissipate
}

// Temperatures maps those of the nodes to the named parts, in the order and by the
// names of HotSpot: blocks of every layer (iface_, hsp_ and hsink_ below the chip,
// or layer_N_ of a stack), then the package's periphery.
func (m *Model) Temperatures(t []float64) []Temperature {
	list := make([]Temperature, len(m.blocks))
	for i, b := range m.blocks {
		list[i] = Temperature{Name: b.name, Layer: b.layer, Kelvin: b.temperature(t), Die: b.trace != ""}
	}
	return list
}

func (b *blockNodes) temperature(t []float64) float64 {
	low, high, sum := math.Inf(1), math.Inf(-1), 0.0
	for _, i := range b.nodes {
		low, high, sum = min(low, t[i]), max(high, t[i]), sum+t[i]
	}
	switch b.reported {
	case "min":
		return low
	case "max":
		return high
	}
	return sum / float64(len(b.nodes))
}

// Peak returns the hottest node of the chip's layers, and the block it belongs to.
func (m *Model) Peak(t []float64) (kelvin float64, where string) {
	kelvin = math.Inf(-1)
	for _, b := range m.blocks {
		if b.layer < 0 || b.layer >= m.die {
			continue
		}
		nodes := b.nodes
		if b.reported == "center" { // its nodes are only those in the middle
			nodes = nil
			for _, s := range b.shares {
				nodes = append(nodes, s.node)
			}
		}
		for _, i := range nodes {
			if t[i] > kelvin {
				kelvin, where = t[i], b.name
			}
		}
	}
	return kelvin, where
}

// Map returns the temperatures of one layer of a grid, rows from north to south.
func (m *Model) Map(t []float64, layer int) [][]float64 {
	rows := make([][]float64, m.Rows)
	for i := range rows {
		at := (layer*m.Rows + i) * m.Cols
		rows[i] = t[at : at+m.Cols]
	}
	return rows
}

// Balance returns the heat that leaves to the ambient less the power put in,
// relative to it: 0 in a steady state.
func (m *Model) Balance(t, power []float64) float64 {
	in, out := 0.0, 0.0
	for i := range t {
		in += power[i]
		out += m.toward[i] * (t[i] - m.Config.Ambient)
	}
	return (out - in) / in
}
