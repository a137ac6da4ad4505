package cooling

import (
	"fmt"
	"math"
)

// air fills what no block of a layer covers.
var air = Material{0.026, 1.2e3}

// threshold is the share of a cell from which a block takes it whole (HotSpot's
// detailed 3-D option).
const threshold = 0.95

// DefaultStack is the die and its interface, as a configuration gives them.
func DefaultStack(c Config, f *Floorplan) []Layer {
	return []Layer{
		{Lateral: true, Power: true, Material: c.Chip.Material, Thickness: c.Chip.Thickness, Floorplan: f},
		{Lateral: true, Material: c.Interface.Material, Thickness: c.Interface.Thickness, Floorplan: f},
	}
}

// NewGrid returns HotSpot's grid model: rows × cols cells in every layer of the
// stack, the spreader and the sink, and twelve nodes for the package around them.
//
// detailed is HotSpot's detailed 3-D option: blocks keep their own resistivity and
// capacity, conductances run from the middle of a cell to the middle of the next,
// not from top to top, and half of the convection lies between spreader and sink.
// Only then may layers differ in size; what a layer does not cover is air.
func NewGrid(c Config, layers []Layer, detailed bool) (*Model, error) {
	m := &Model{Config: c, Kind: "grid", Rows: c.Rows, Cols: c.Cols, Layers: len(layers) + 2, die: len(layers), detailed: detailed, Warnings: c.Warnings()}
	for n, l := range layers {
		w, h := l.Floorplan.Size()
		if n > 0 && !detailed && (!near(w, m.Width) || !near(h, m.Height)) {
			return nil, fmt.Errorf("layer %d spans %g × %g m, the layers before it %g × %g m", n, w, h, m.Width, m.Height)
		}
		m.Width, m.Height = max(m.Width, w), max(m.Height, h)
		for _, text := range l.Floorplan.Warnings() {
			m.Warnings = append(m.Warnings, fmt.Sprintf("layer %d: %s", n, text))
		}
		if detailed && l.Thickness > 0.01 {
			m.Warnings = append(m.Warnings, fmt.Sprintf("layer %d is %g m thick: is that in millimetres? It is taken as metres", n, l.Thickness))
		}
	}
	if err := checkSizes(c, m.Width, m.Height); err != nil {
		return nil, err
	}
	named := make([]string, len(layers)) // prefixes of the blocks' names
	if detailed {
		for n := range named {
			named[n] = fmt.Sprintf("layer_%d_", n)
		}
	} else if len(layers) == 2 {
		named[1] = "iface_"
	}
	package2 := []Slab{c.Spreader, c.Sink}
	last := layers[len(layers)-1].Floorplan
	for i, slab := range package2 {
		layers = append(layers, Layer{Lateral: true, Material: slab.Material, Thickness: slab.Thickness, Floorplan: last})
		named = append(named, []string{"hsp_", "hsink_"}[i])
	}
	g := &grid{Model: m, layers: layers}
	for n := range layers {
		if err := g.layer(n, named[n]); err != nil {
			return nil, err
		}
	}
	g.connect()
	m.eliminate()
	return m, m.finite()
}

// A grid is a model that is being made.
type grid struct {
	*Model
	layers []Layer
	k      [][]float64 // [layer][cell] conductivity
}

func (g *grid) cell(layer, row, col int) int32 { return int32((layer*g.Rows+row)*g.Cols + col) }

// cellSize returns the width and height of a cell.
func (g *grid) cellSize() (w, h float64) {
	return g.Width / float64(g.Cols), g.Height / float64(g.Rows)
}

// layer adds the nodes and blocks of one layer.
func (g *grid) layer(n int, prefix string) error {
	l := g.layers[n]
	cw, ch := g.cellSize()
	inside := n < g.die && g.detailed // where blocks have materials of their own
	covered := make([]float64, g.Rows*g.Cols)
	locked := make([]bool, g.Rows*g.Cols)
	k, stored := make([]float64, len(covered)), make([]float64, len(covered))
	for i := range stored {
		stored[i] = l.Material.Capacity
	}
	for _, b := range l.Floorplan.Blocks {
		own := l.Material
		if inside && b.Resistivity > 0 {
			own = Material{1 / b.Resistivity, b.Capacity}
		}
		block := blockNodes{name: prefix + b.Name, layer: n, reported: g.Config.Mapping}
		if l.Power {
			block.trace = b.Name
		}
		top, bottom := g.Rows-tolerantCeil((b.Y+b.Height)/ch), g.Rows-tolerantFloor(b.Y/ch)
		left, right := tolerantFloor(b.X/cw), tolerantCeil((b.X+b.Width)/cw)
		top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, g.Rows), min(right, g.Cols)
		if top >= bottom || left >= right {
			return fmt.Errorf("block %s lies outside of the chip", b.Name)
		}
		for i := top; i < bottom; i++ {
			for j := left; j < right; j++ {
				at := i*g.Cols + j
				share1 := occupied(b, float64(j)*cw, float64(g.Rows-1-i)*ch, cw, ch)
				block.nodes = append(block.nodes, g.cell(n, i, j))
				block.shares = append(block.shares, share{g.cell(n, i, j), share1 * cw * ch / (b.Width * b.Height)})
				covered[at] += share1
				if locked[at] {
					continue
				}
				if k[at] += share1 * own.Conductivity; share1 >= threshold {
					locked[at], k[at], stored[at] = true, own.Conductivity, own.Capacity
				}
			}
		}
		if g.Config.Mapping == "center" {
			block.nodes = g.middle(n, top, bottom, left, right)
		}
		g.blocks = append(g.blocks, block)
	}
	for at := range covered {
		switch missing := 1 - covered[at]; {
		case !inside:
			k[at] = l.Material.Conductivity
		case missing > 1e-6 && !locked[at]:
			k[at] += missing * air.Conductivity
			stored[at] = (1-missing)*l.Material.Capacity + missing*air.Capacity
		}
		capacity := stored[at] * l.Thickness * cw * ch
		if n == len(g.layers)-1 {
			capacity += convectionShare * g.Config.Capacity * cw * ch / (g.Config.Sink.Side * g.Config.Sink.Side)
		}
		g.node(capacity)
	}
	g.k = append(g.k, k)
	return nil
}

// middle returns the one, two or four cells in the middle of a block.
func (g *grid) middle(n, top, bottom, left, right int) []int32 {
	i, j := (top+bottom)/2, (left+right)/2
	up, aside := i-(1-(bottom-top)%2), j-(1-(right-left)%2)
	return []int32{g.cell(n, i, j), g.cell(n, up, j), g.cell(n, i, aside), g.cell(n, up, aside)}
}

// occupied is the share of a cell that a block covers.
func occupied(b Block, x, y, w, h float64) float64 {
	wide, high := overlap(b.X, b.Width, x, w)/w, overlap(b.Y, b.Height, y, h)/h
	snap := func(s float64) float64 {
		switch {
		case s < 1e-6:
			return 0
		case s > 1-1e-6:
			return 1
		}
		return s
	}
	return snap(wide) * snap(high)
}

func tolerantFloor(x float64) int {
	if r := math.Round(x); math.Abs(x-r) < 1e-6 {
		return int(r)
	}
	return int(math.Floor(x))
}

func tolerantCeil(x float64) int {
	if r := math.Round(x); math.Abs(x-r) < 1e-6 {
		return int(r)
	}
	return int(math.Ceil(x))
}

// connect adds all conductances and the periphery.
func (g *grid) connect() {
	cw, ch := g.cellSize()
	sink := len(g.layers) - 1
	convection := g.Config.Resistance * g.Config.Sink.Side * g.Config.Sink.Side / (cw * ch)
	r := newRim(g.Config, g.Width, g.Height)
	for n, l := range g.layers {
		for i := range g.Rows {
			for j := range g.Cols {
				at, here := g.cell(n, i, j), i*g.Cols+j
				if l.Lateral && j+1 < g.Cols {
					g.Model.connect(at, at+1, series(conductance(g.k[n][here], cw/2, ch*l.Thickness), conductance(g.k[n][here+1], cw/2, ch*l.Thickness)))
				}
				if l.Lateral && i+1 < g.Rows {
					g.Model.connect(at, g.cell(n, i+1, j), series(conductance(g.k[n][here], ch/2, cw*l.Thickness), conductance(g.k[n][here+g.Cols], ch/2, cw*l.Thickness)))
				}
				through := 1 / conductance(g.k[n][here], l.Thickness, cw*ch)
				if n == g.die-1 {
					g.joint = append(g.joint, through)
				}
				if n == sink {
					g.toward[at] = 1 / (through + convection)
					continue
				}
				if g.detailed {
					below := 1 / conductance(g.k[n+1][here], g.layers[n+1].Thickness, cw*ch)
					if n+1 == sink {
						below += convection
					}
					if n > 0 {
						through /= 2
					}
					through += below / 2
				}
				g.Model.connect(at, g.cell(n+1, i, j), 1/through)
			}
		}
	}
	first := g.addRim(r)
	g.edge(sink-1, first+spreaderSide, r.spreader)
	g.edge(sink, first+innerSink, r.inner)
}

// edge connects the cells at the edges of a package layer to the periphery.
func (g *grid) edge(n int, first int32, resistance [4]float64) {
	cw, ch := g.cellSize()
	l := g.layers[n]
	halfX, halfY := 1/conductance(l.Material.Conductivity, cw/2, ch*l.Thickness), 1/conductance(l.Material.Conductivity, ch/2, cw*l.Thickness)
	for i := range g.Rows {
		rows := float64(g.Rows)
		g.Model.connect(g.cell(n, i, 0), first+west, 1/(halfX+rows*resistance[west]))
		g.Model.connect(g.cell(n, i, g.Cols-1), first+east, 1/(halfX+rows*resistance[east]))
	}
	for j := range g.Cols {
		cols := float64(g.Cols)
		g.Model.connect(g.cell(n, 0, j), first+north, 1/(halfY+cols*resistance[north]))
		g.Model.connect(g.cell(n, g.Rows-1, j), first+south, 1/(halfY+cols*resistance[south]))
	}
}

// eliminate chooses the order of elimination: columns of cells by nested
// dissection, the periphery last.
func (m *Model) eliminate() {
	cells := m.Rows * m.Cols
	dissection(0, 0, m.Rows, m.Cols, func(row, col int) {
		for n := range m.Layers {
			m.order = append(m.order, int32(n*cells+row*m.Cols+col))
		}
	})
	for i := len(m.order); i < len(m.capacity); i++ {
		m.order = append(m.order, int32(i))
	}
}
