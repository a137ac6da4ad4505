package cooling

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What a file may hold at most: more is no floorplan but damage.
const (
	mostBlocks = 1 << 16
	mostLayers = 256
	mostLine   = 1 << 22
	mostValues = 1 << 28 // of a trace
)

// A Block is one rectangle of a floorplan.
type Block struct {
	Name          string
	X, Y          float64 // of the corner at the lower left
	Width, Height float64
	Capacity      float64 // 0 for the layer's
	Resistivity   float64 // m·K/W; 0 for the layer's
}

// A Floorplan is the blocks of one layer.
type Floorplan struct{ Blocks []Block }

// A Trace is the power of blocks over time.
type Trace struct {
	Names []string
	Power [][]float64 // [time][block], in watts
}

// A Material conducts and stores heat.
type Material struct {
	Conductivity float64
	Capacity     float64
}

// A Layer is one layer of a stack, the one farthest from the sink first.
type Layer struct {
	Lateral   bool // heat flows within it
	Power     bool // its blocks dissipate
	Material  Material
	Thickness float64
	Floorplan *Floorplan
}

// eachLine calls f with the words of every line that has any, comments left out.
func eachLine(r io.Reader, f func(line int, words []string) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, mostLine)
	for n := 1; scanner.Scan(); n++ {
		text, _, _ := strings.Cut(scanner.Text(), "#")
		if words := strings.Fields(text); len(words) > 0 {
			if err := f(n, words); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return scanner.Err()
}

// number reads a finite number.
func number(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("expected a finite number, got %q", s)
	}
	return x, nil
}

// ReadFloorplan reads a floorplan (.flp): name, width, height, left x and bottom y
// of a block a line, in metres, and its own capacity and resistivity where it has
// them. Blocks must have an area, names of their own, and not overlap.
func ReadFloorplan(r io.Reader) (*Floorplan, error) {
	var f Floorplan
	names := map[string]bool{}
	err := eachLine(r, func(_ int, words []string) error {
		if len(words) != 5 && len(words) != 7 {
			return fmt.Errorf("expected name, width, height, x and y, with or without capacity and resistivity, got %d words", len(words))
		}
		if len(f.Blocks) == mostBlocks {
			return fmt.Errorf("expected at most %d blocks", mostBlocks)
		}
		b := Block{Name: words[0]}
		for i, to := range []*float64{&b.Width, &b.Height, &b.X, &b.Y, &b.Capacity, &b.Resistivity}[:len(words)-1] {
			var err error
			if *to, err = number(words[i+1]); err != nil {
				return fmt.Errorf("block %s: %w", b.Name, err)
			}
		}
		switch {
		case !(b.Width > 0 && b.Height > 0):
			return fmt.Errorf("block %s: expected a positive width and height, got %g and %g m", b.Name, b.Width, b.Height)
		case len(words) == 7 && !(b.Capacity > 0 && b.Resistivity > 0):
			return fmt.Errorf("block %s: expected a positive capacity and resistivity, got %g and %g", b.Name, b.Capacity, b.Resistivity)
		case names[b.Name]:
			return fmt.Errorf("block %s comes twice", b.Name)
		}
		names[b.Name] = true
		f.Blocks = append(f.Blocks, b)
		return nil
	})
	if err == nil && len(f.Blocks) == 0 {
		err = errors.New("expected at least one block")
	}
	if err == nil {
		err = f.place()
	}
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// place moves the floorplan to the origin and looks for overlaps.
func (f *Floorplan) place() error {
	x, y := math.Inf(1), math.Inf(1)
	for _, b := range f.Blocks {
		x, y = min(x, b.X), min(y, b.Y)
	}
	for i := range f.Blocks {
		f.Blocks[i].X -= x
		f.Blocks[i].Y -= y
	}
	order := make([]int, len(f.Blocks)) // from left to right
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		if f.Blocks[i].X < f.Blocks[j].X {
			return -1
		}
		return 1
	})
	for n, i := range order {
		a := f.Blocks[i]
		for _, j := range order[n+1:] {
			b := f.Blocks[j]
			if b.X >= a.X+a.Width {
				break
			}
			wide, high := overlap(a.X, a.Width, b.X, b.Width), overlap(a.Y, a.Height, b.Y, b.Height)
			if least := min(a.Width*a.Height, b.Width*b.Height); wide > 0 && high > 0 && wide*high > 1e-6*least {
				return fmt.Errorf("blocks %s and %s overlap by %.3g × %.3g m", a.Name, b.Name, wide, high)
			}
		}
	}
	return nil
}

func overlap(a, wideA, b, wideB float64) float64 { return min(a+wideA, b+wideB) - max(a, b) }

// Size returns the width and the height that the blocks span.
func (f *Floorplan) Size() (width, height float64) {
	for _, b := range f.Blocks {
		width, height = max(width, b.X+b.Width), max(height, b.Y+b.Height)
	}
	return width, height
}

// Warnings says what is odd about the lengths: those of a chip lie between a
// millimetre and ten centimetres, and its blocks leave no gaps.
func (f *Floorplan) Warnings() []string {
	var list []string
	w, h := f.Size()
	switch {
	case max(w, h) > 0.3:
		list = append(list, fmt.Sprintf("the floorplan spans %g × %g m: are its lengths in millimetres? They are taken as metres", w, h))
	case max(w, h) < 3e-4:
		list = append(list, fmt.Sprintf("the floorplan spans %g × %g m: that is less than a grain of sand; lengths are taken as metres", w, h))
	}
	covered := 0.0
	for _, b := range f.Blocks {
		covered += b.Width * b.Height / (w * h)
	}
	if covered < 0.99 {
		list = append(list, fmt.Sprintf("the blocks cover %.3g %% of the %g × %g m that they span: is one of them out of place?", 100*covered, w, h))
	}
	return list
}

// ReadTrace reads a power trace (.ptrace): the names of the blocks, then their powers
// in watts, a line for every interval.
func ReadTrace(r io.Reader) (*Trace, error) {
	var t Trace
	err := eachLine(r, func(_ int, words []string) error {
		if t.Names == nil {
			t.Names = words
			return nil
		}
		if len(words) != len(t.Names) {
			return fmt.Errorf("expected the power of %d blocks, got %d", len(t.Names), len(words))
		}
		if len(t.Power)*len(t.Names) > mostValues {
			return fmt.Errorf("expected at most %d powers", mostValues)
		}
		row := make([]float64, len(words))
		for i, word := range words {
			var err error
			if row[i], err = number(word); err == nil && row[i] < 0 {
				err = fmt.Errorf("expected a power of at least 0 W, got %s", word)
			}
			if err != nil {
				return fmt.Errorf("block %s: %w", t.Names[i], err)
			}
		}
		t.Power = append(t.Power, row)
		return nil
	})
	if err == nil && len(t.Power) == 0 {
		err = errors.New("expected a line of names and at least one of powers")
	}
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// Mean returns the mean power of every block.
func (t *Trace) Mean() []float64 {
	mean := make([]float64, len(t.Names))
	for _, row := range t.Power {
		for i, p := range row {
			mean[i] += p / float64(len(t.Power))
		}
	}
	return mean
}

// ReadMaterials reads materials: for each a line with its name, "solid" or "fluid",
// its conductivity, its capacity and, of a fluid, its viscosity.
func ReadMaterials(r io.Reader) (map[string]Material, error) {
	list := map[string]Material{}
	var name string
	var m Material
	field, fluid := 0, false
	err := eachLine(r, func(_ int, words []string) error {
		if len(words) != 1 {
			return fmt.Errorf("expected one word a line, got %d", len(words))
		}
		x, err := 0.0, error(nil)
		if field >= 2 {
			if x, err = number(words[0]); err == nil && !(x > 0) {
				err = fmt.Errorf("expected a positive number, got %s", words[0])
			}
			if err != nil {
				return fmt.Errorf("material %s: %w", name, err)
			}
		}
		switch field++; field {
		case 1:
			if name = words[0]; list[name] != (Material{}) {
				return fmt.Errorf("material %s comes twice", name)
			}
		case 2:
			if fluid = words[0] == "fluid"; !fluid && words[0] != "solid" {
				return fmt.Errorf("material %s: expected solid or fluid, got %q", name, words[0])
			}
		case 3:
			m.Conductivity = x
		case 4:
			m.Capacity = x
			list[name] = m
			if !fluid {
				field = 0
			}
		case 5:
			field = 0
		}
		return nil
	})
	if err == nil && field != 0 {
		err = fmt.Errorf("material %s ends after %d of its lines", name, field)
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}

// ReadLayers reads a stack (.lcf): for each layer its number, whether heat flows
// within it (Y or N), whether it dissipates, its capacity and resistivity or the
// name of a material, its thickness and its floorplan, which open reads.
func ReadLayers(r io.Reader, materials map[string]Material, open func(name string) (*Floorplan, error)) ([]Layer, error) {
	layers := map[int]Layer{}
	var l Layer
	number64, field := 0, 0
	err := eachLine(r, func(_ int, words []string) error {
		if len(words) != 1 {
			return fmt.Errorf("expected one word a line, got %d", len(words))
		}
		word := words[0]
		yes := func() (bool, error) {
			if u := strings.ToUpper(word); u == "Y" || u == "N" {
				return u == "Y", nil
			}
			return false, fmt.Errorf("layer %d: expected Y or N, got %q", number64, word)
		}
		positive := func() (float64, error) {
			x, err := number(word)
			if err == nil && !(x > 0) {
				err = fmt.Errorf("expected a positive number, got %s", word)
			}
			if err != nil {
				err = fmt.Errorf("layer %d: %w", number64, err)
			}
			return x, err
		}
		var err error
		switch field++; field {
		case 1:
			if number64, err = strconv.Atoi(word); err != nil || number64 < 0 || number64 >= mostLayers {
				return fmt.Errorf("expected the number of a layer below %d, got %q", mostLayers, word)
			}
			if _, twice := layers[number64]; twice {
				return fmt.Errorf("layer %d comes twice", number64)
			}
			l = Layer{}
		case 2:
			l.Lateral, err = yes()
		case 3:
			l.Power, err = yes()
		case 4:
			if m, ok := materials[word]; ok {
				l.Material = m
				field++
			} else if _, err := number(word); err != nil {
				return fmt.Errorf("layer %d: expected a capacity or the name of a material, got %q", number64, word)
			} else if l.Material.Capacity, err = positive(); err != nil {
				return err
			}
		case 5:
			var resistivity float64
			resistivity, err = positive()
			l.Material.Conductivity = 1 / resistivity
		case 6:
			l.Thickness, err = positive()
		case 7:
			if l.Floorplan, err = open(word); err == nil {
				layers[number64] = l
				field = 0
			}
		}
		return err
	})
	if err == nil && field != 0 {
		err = fmt.Errorf("layer %d ends after %d of its lines", number64, field)
	}
	if err != nil {
		return nil, err
	}
	list := make([]Layer, len(layers))
	for i := range list {
		var ok bool
		if list[i], ok = layers[i]; !ok {
			return nil, fmt.Errorf("there are %d layers, but none has the number %d", len(layers), i)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("expected at least one layer")
	}
	return list, nil
}

// open reads a file by a reader of its contents, and names it in errors.
func open[T any](path string, read func(io.Reader) (T, error)) (T, error) {
	var none T
	file, err := os.Open(path)
	if err != nil {
		return none, err
	}
	defer file.Close()
	t, err := read(file)
	if err != nil {
		return none, fmt.Errorf("reading %s: %w", path, err)
	}
	return t, nil
}

// OpenFloorplan is ReadFloorplan of a file.
func OpenFloorplan(path string) (*Floorplan, error) { return open(path, ReadFloorplan) }

// OpenTrace is ReadTrace of a file.
func OpenTrace(path string) (*Trace, error) { return open(path, ReadTrace) }

// OpenMaterials is ReadMaterials of a file.
func OpenMaterials(path string) (map[string]Material, error) { return open(path, ReadMaterials) }

// OpenLayers is ReadLayers of a file; floorplans are found beside it.
func OpenLayers(path string, materials map[string]Material) ([]Layer, error) {
	return open(path, func(r io.Reader) ([]Layer, error) {
		return ReadLayers(r, materials, func(name string) (*Floorplan, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			return OpenFloorplan(name)
		})
	})
}
