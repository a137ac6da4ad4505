package cooling

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// A Cooler is a thermoelectric cooler between two plates: at a current I it takes
// αIT_c − ½I²R − K(T_h − T_c) from its cold plate and draws I²R + αI(T_h − T_c).
type Cooler struct {
	Seebeck     float64 `json:"seebeck_v_per_k"`     // α, of all couples in series
	Resistance  float64 `json:"resistance_ohm"`      // R
	Conductance float64 `json:"conductance_w_per_k"` // K
	Contact     float64 `json:"contact_w_per_k"`     // of each plate to the chip or the spreader
	MaxCurrent  float64 `json:"max_current_a"`
}

// A Tile is a cooler's place on the chip.
type Tile struct {
	Row    int     `json:"row"` // from the north
	Column int     `json:"column"`
	X      float64 `json:"x"` // of the corner at the lower left, m
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
	Cooler
}

// Bismuth telluride near room temperature (Goldsmid, Introduction to
// Thermoelectricity, Springer 2010, chapters 6 and 8): Seebeck coefficient and
// resistivity of a leg, and its conductivity. Contacts of 10⁻¹¹ Ω·m² are what thin
// films reach.
const (
	legSeebeck      = 200e-6 // V/K
	legResistivity  = 1e-5   // Ω·m
	legConductivity = 1.5    // W/(m·K)
	legContact      = 1e-11  // Ω·m², each of two
	legLength       = 20e-6  // m: the thickness of the interface material
	legShare        = 0.5    // of the tile's area
	legSide         = 100e-6 // m
	plateContact    = 2e5    // W/(m²·K) of a soldered plate
)

// DefaultCooler is a cooler of bismuth telluride that fills a tile of the given
// area: legs of 100 µm side and 20 µm length on half of it, in couples, between
// which the interface material stays. The largest current is that of the largest
// heat at 360 K.
func DefaultCooler(area float64) Cooler {
	couples := max(1, math.Floor(legShare*area/(2*legSide*legSide)))
	section := legShare * area / (2 * couples) // of one leg
	leg := legResistivity*legLength/section + 2*legContact/section
	c := Cooler{Seebeck: 2 * couples * legSeebeck, Resistance: 2 * couples * leg, Conductance: legConductivity * legShare * area / legLength, Contact: plateContact * area}
	c.MaxCurrent = c.Seebeck * 360 / c.Resistance
	return c
}

// Regular divides a chip into rows × columns tiles, each with a default cooler.
func Regular(rows, columns int, width, height float64) []Tile {
	w, h := width/float64(columns), height/float64(rows)
	var list []Tile
	for i := range rows {
		for j := range columns {
			list = append(list, Tile{Row: i, Column: j, X: float64(j) * w, Y: float64(rows-1-i) * h, Width: w, Height: h, Cooler: DefaultCooler(w * h)})
		}
	}
	return list
}

// ReadTiles reads a JSON list of tiles. What a tile leaves out of its cooler is the
// default's.
func ReadTiles(r io.Reader) ([]Tile, error) {
	var list []Tile
	d := json.NewDecoder(io.LimitReader(r, 1<<24))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("expected a list of tiles: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("expected at least one tile")
	}
	for i := range list {
		t := &list[i]
		if !(t.Width > 0 && t.Height > 0) || math.IsInf(t.Width*t.Height, 0) {
			return nil, fmt.Errorf("tile %d: expected a positive width and height, got %g and %g m", i, t.Width, t.Height)
		}
		standard := DefaultCooler(t.Width * t.Height)
		for _, f := range []struct {
			value    *float64
			standard float64
			name     string
		}{{&t.Seebeck, standard.Seebeck, "seebeck_v_per_k"}, {&t.Resistance, standard.Resistance, "resistance_ohm"},
			{&t.Conductance, standard.Conductance, "conductance_w_per_k"}, {&t.Contact, standard.Contact, "contact_w_per_k"}, {&t.MaxCurrent, standard.MaxCurrent, "max_current_a"}} {
			if *f.value == 0 {
				*f.value = f.standard
			}
			if !(*f.value > 0) {
				return nil, fmt.Errorf("tile %d: %s: expected a positive number, got %g", i, f.name, *f.value)
			}
		}
		for j, o := range list[:i] {
			if wide, high := overlap(t.X, t.Width, o.X, o.Width), overlap(t.Y, t.Height, o.Y, o.Height); wide > 1e-9 && high > 1e-9 {
				return nil, fmt.Errorf("tiles %d and %d overlap by %.3g × %.3g m", j, i, wide, high)
			}
		}
	}
	return list, nil
}

// OpenTiles is ReadTiles of a file.
func OpenTiles(path string) ([]Tile, error) { return open(path, ReadTiles) }

// An Array is a chip with coolers beside the interface to its spreader, reduced to
// what the currents act on: the temperatures of their cold and hot plates (its
// ports). The network with the coolers off is factored once; a current changes two
// elements of its diagonal, so currents are low-rank updates, and the network stays
// one whose inverse is not negative (an M-matrix) until a cooler runs away.
type Array struct {
	Model *Model // with the plates
	Tiles []Tile
	Power []float64 // of the nodes
	Bare  []float64 // temperatures of the nodes without coolers

	without *Model     // the chip without coolers
	off     []float64  // temperatures of the nodes with coolers that are off
	first   int        // node of the first port; cold and hot take turns
	ports   network    // what the ports see of all the rest
	spread  *mat.Dense // [node, port]: how much a node warms for a kelvin at a port, the other ports held
	watched []int32    // nodes of the chip, whose highest temperature counts
	shown   *mat.Dense // [watched, port]: spread at the watched nodes
}

// NewArray places coolers on a grid model: their cold plates on the chip's last layer
// but the interface, their hot plates on the spreader. It fails if a tile
// covers no cell or reaches beyond the chip.
func NewArray(m *Model, tiles []Tile, power []float64) (*Array, error) {
	if m.Kind != "grid" {
		return nil, errors.New("coolers need the grid model")
	}
	plates, err := withPlates(m, tiles)
	if err != nil {
		return nil, err
	}
	a := &Array{Model: plates, Tiles: tiles, without: m, first: len(m.capacity)}
	if err := a.heat(power); err != nil {
		return nil, err
	}
	a.ports = newNetwork(a.Model.steady.schur(2*len(tiles)), a.off[a.first:])
	for _, b := range m.blocks {
		if b.trace != "" {
			for _, s := range b.shares {
				a.watched = append(a.watched, s.node)
			}
		}
	}
	slices.Sort(a.watched)
	a.watched = slices.Compact(a.watched)
	a.spread = a.Model.steady.extend(2 * len(tiles))
	a.shown = mat.NewDense(len(a.watched), 2*len(tiles), nil)
	for i, node := range a.watched {
		a.shown.SetRow(i, a.spread.RawRowView(int(node)))
	}
	return a, nil
}

// heat computes the temperatures without and with coolers that are off.
func (a *Array) heat(power []float64) (err error) {
	if a.Bare, err = a.without.Steady(power); err != nil {
		return err
	}
	a.Power = append(slices.Clone(power), make([]float64, 2*len(a.Tiles))...)
	a.off, err = a.Model.Steady(a.Power)
	return err
}

// WithPower returns the array at other powers of the nodes without coolers; what was
// factored is shared.
func (a *Array) WithPower(power []float64) (*Array, error) {
	b := *a
	if err := b.heat(power); err != nil {
		return nil, err
	}
	b.ports = newNetwork(a.ports.conductance, b.off[b.first:])
	return &b, nil
}

// withPlates returns a copy of a model with two nodes for every tile.
func withPlates(m *Model, tiles []Tile) (*Model, error) {
	with := *m
	with.steady = nil
	with.edges, with.order = slices.Clone(m.edges), slices.Clone(m.order)
	with.toward, with.capacity = slices.Clone(m.toward), slices.Clone(m.capacity)
	cells := m.Rows * m.Cols
	cold, hot := max(0, m.die-2), m.die
	taken := make([]bool, cells)
	for k, t := range tiles {
		if t.X < -1e-9 || t.Y < -1e-9 || t.X+t.Width > m.Width+1e-9 || t.Y+t.Height > m.Height+1e-9 {
			return nil, fmt.Errorf("tile %d (row %d, column %d) reaches from %g, %g to %g, %g m, beyond the chip of %g × %g m%s",
				k, t.Row, t.Column, t.X, t.Y, t.X+t.Width, t.Y+t.Height, m.Width, m.Height, slip(max(t.X+t.Width, t.Y+t.Height)/max(m.Width, m.Height)))
		}
		var under []int
		for at := range taken {
			x, y := (float64(at%m.Cols)+0.5)*m.Width/float64(m.Cols), (float64(m.Rows-1-at/m.Cols)+0.5)*m.Height/float64(m.Rows)
			if x < t.X || x >= t.X+t.Width || y < t.Y || y >= t.Y+t.Height {
				continue
			}
			if taken[at] {
				return nil, fmt.Errorf("tile %d shares a cell with another", k)
			}
			taken[at] = true
			under = append(under, at)
		}
		if len(under) == 0 {
			return nil, fmt.Errorf("tile %d (row %d, column %d) covers no cell of the %d × %d grid: give a finer one", k, t.Row, t.Column, m.Rows, m.Cols)
		}
		c, h := with.node(0), with.node(0)
		for _, at := range under {
			with.connect(c, int32(cold*cells+at), t.Contact/float64(len(under)))
			with.connect(h, int32(hot*cells+at), t.Contact/float64(len(under)))
		}
		with.connect(c, h, t.Conductance)
	}
	with.giveWay(taken)
	for i := len(m.capacity); i < len(with.capacity); i++ {
		with.order = append(with.order, int32(i))
	}
	return &with, nil
}

// giveWay takes the legs' share of the interface material from the cells under coolers:
// what is left conducts as much less.
func (m *Model) giveWay(taken []bool) {
	cells := m.Rows * m.Cols
	for k := range m.edges {
		e := &m.edges[k]
		if int(e.j-e.i) != cells || !taken[int(e.i)%cells] {
			continue
		}
		more := m.joint[int(e.i)%cells] * legShare / (1 - legShare)
		switch layer := int(e.i) / cells; {
		case m.detailed && (layer == m.die-1 || layer == m.die-2):
			e.g = 1 / (1/e.g + more/2) // half of the interface on either side of its node
		case !m.detailed && layer == m.die-1:
			e.g = 1 / (1/e.g + more)
		}
	}
}

// A state is the array at some currents.
type state struct {
	currents []float64
	factor   mat.Cholesky // of the ports' conductances with those of the coolers
	at       []float64    // temperatures of the ports
	watched  []float64    // of the chip
	peak     float64
}

// A network is what the ports see of their surroundings: conductances among them (the
// Schur complement) and their temperatures when nothing is added.
type network struct {
	conductance *mat.SymDense
	bare        []float64
	flow        []float64 // conductance·bare
}

func newNetwork(conductance *mat.SymDense, bare []float64) network {
	n := network{conductance, bare, make([]float64, len(bare))}
	mat.NewVecDense(len(bare), n.flow).MulVec(conductance, mat.NewVecDense(len(bare), bare))
	return n
}

// solve returns the temperatures of the ports when conductances (which may be negative)
// and sources are added to them. ok is false where there are none, because the
// matrix is no longer positive: there lies the runaway.
func (n network) solve(factor *mat.Cholesky, diagonal, source []float64) (at []float64, ok bool) {
	ports := len(n.bare)
	a := mat.NewSymDense(ports, nil)
	a.CopySym(n.conductance)
	at = make([]float64, ports)
	for p, d := range diagonal {
		a.SetSym(p, p, a.At(p, p)+d)
		at[p] = n.flow[p] + source[p]
	}
	if !factor.Factorize(a) {
		return nil, false
	}
	x := mat.NewVecDense(ports, at)
	if factor.SolveVecTo(x, x) != nil {
		return nil, false
	}
	for _, t := range at {
		if !(t > 0) || math.IsInf(t, 1) {
			return nil, false
		}
	}
	return at, true
}

// away returns how far ports are from the temperatures they have with coolers off.
func (n network) away(at []float64) *mat.VecDense {
	d := mat.NewVecDense(len(at), nil)
	for p, t := range at {
		d.SetVec(p, t-n.bare[p])
	}
	return d
}

// loads returns what coolers add at the ports: conductances at currents of their cold
// and hot sides, and Joule heat at others.
func (a *Array) loads(cold, hot, joule []float64) (diagonal, source []float64) {
	for k, t := range a.Tiles {
		j := t.Resistance * joule[k] * joule[k] / 2
		diagonal, source = append(diagonal, t.Seebeck*cold[k], -t.Seebeck*hot[k]), append(source, j, j)
	}
	return diagonal, source
}

// solveAt solves the array at currents; ok is false where a cooler runs away: where it
// would pump more heat than its hot side can give off.
func (a *Array) solveAt(currents []float64) (s *state, ok bool) {
	s = &state{currents: currents, peak: math.Inf(-1), watched: make([]float64, len(a.watched))}
	diagonal, source := a.loads(currents, currents, currents)
	if s.at, ok = a.ports.solve(&s.factor, diagonal, source); !ok {
		return nil, false
	}
	mat.NewVecDense(len(s.watched), s.watched).MulVec(a.shown, a.ports.away(s.at))
	for i, node := range a.watched {
		s.watched[i] += a.off[node]
		s.peak = max(s.peak, s.watched[i])
	}
	return s, true
}

// draw returns the power that every cooler draws, and the heat it takes from its
// cold side.
func (a *Array) draw(s *state) (power, taken []float64) {
	for k, t := range a.Tiles {
		i, c, h := s.currents[k], s.at[2*k], s.at[2*k+1]
		power = append(power, t.Resistance*i*i+t.Seebeck*i*(h-c))
		taken = append(taken, t.Seebeck*i*c-t.Resistance*i*i/2-t.Conductance*(h-c))
	}
	return power, taken
}

// Temperatures returns those of all nodes at the currents (the plates last), the power
// that every cooler draws, and by how much the heat balance of any node is missed,
// relative to the chip's power.
func (a *Array) Temperatures(currents []float64) (kelvin, power []float64, residual float64, err error) {
	s, ok := a.solveAt(currents)
	if !ok {
		return nil, nil, 0, errors.New("a cooler runs away at these currents: it pumps more heat than its hot side can give off")
	}
	kelvin = slices.Clone(a.off)
	v := mat.NewVecDense(len(kelvin), nil)
	v.MulVec(a.spread, a.ports.away(s.at))
	for i := range kelvin {
		kelvin[i] += v.AtVec(i)
	}
	source := slices.Clone(a.Power)
	total := 0.0
	for _, p := range source {
		total += p
	}
	for k, t := range a.Tiles { // by the temperatures of the plates
		i, c, h := currents[k], kelvin[a.first+2*k], kelvin[a.first+2*k+1]
		power = append(power, t.Resistance*i*i+t.Seebeck*i*(h-c))
		source[a.first+2*k] += t.Resistance*i*i/2 - t.Seebeck*i*c
		source[a.first+2*k+1] += t.Resistance*i*i/2 + t.Seebeck*i*h
	}
	flow := make([]float64, len(kelvin))
	a.Model.inflow(kelvin, source, flow)
	for _, q := range flow {
		residual = max(residual, math.Abs(q)/total)
	}
	return kelvin, power, residual, nil
}
