package cooling

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func TestBadFiles(t *testing.T) {
	none := map[string]Material{}
	floor := func(string) (*Floorplan, error) {
		return &Floorplan{Blocks: []Block{{Name: "a", Width: 1, Height: 1}}}, nil
	}
	for _, c := range []struct {
		kind, text, want string
	}{
		{"flp", "", "at least one block"},
		{"flp", "a 1 1 0", "line 1: expected name, width, height, x and y"},
		{"flp", "a 1 1 0 0\nb 1 x 0 0", "line 2: block b: expected a finite number, got \"x\""},
		{"flp", "a 1 -1 0 0", "positive width and height, got 1 and -1 m"},
		{"flp", "a 1 NaN 0 0", "expected a finite number"},
		{"flp", "a 1 1 0 0\na 1 1 1 0", "block a comes twice"},
		{"flp", "a 1 1 0 0\nb 1 1 0.5 0.5", "blocks a and b overlap by 0.5 × 0.5 m"},
		{"ptrace", "a b\n1", "line 2: expected the power of 2 blocks, got 1"},
		{"ptrace", "a b", "expected a line of names and at least one of powers"},
		{"ptrace", "a b\n1 NaN", "block b: expected a finite number, got \"NaN\""},
		{"ptrace", "a b\n1 -2", "block b: expected a power of at least 0 W, got -2"},
		{"materials", "gold\nsolid\n318", "material gold ends after 3 of its lines"},
		{"materials", "gold\nplasma", "expected solid or fluid, got \"plasma\""},
		{"materials", "gold\nsolid\n-1\n2", "material gold: expected a positive number"},
		{"config", "t_chip 1", "expected a name with a dash"},
		{"config", "-t_chip 0", "t_chip: expected a positive number, got 0"},
		{"config", "-material_chip mithril", "\"mithril\" is not among the materials"},
		{"config", "-model_secondary 1", "kelvin has no such model"},
		{"config", "-grid_rows 0", "grid_rows: expected 1 to 4096"},
		{"lcf", "0\nY\nY\n1e6\n0.01", "layer 0 ends after 5 of its lines"},
		{"lcf", "1\nY\nY\n1e6\n0.01\n1e-4\nf", "none has the number 0"},
		{"lcf", "0\nmaybe", "layer 0: expected Y or N"},
		{"lcf", "0\nY\nY\nunobtainium", "a capacity or the name of a material"},
	} {
		var err error
		switch r := strings.NewReader(c.text); c.kind {
		case "flp":
			_, err = ReadFloorplan(r)
		case "ptrace":
			_, err = ReadTrace(r)
		case "materials":
			_, err = ReadMaterials(r)
		case "config":
			_, err = ReadConfig(r, none)
		case "lcf":
			_, err = ReadLayers(r, none, floor)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: got %v, expected %q", c.kind, c.text, err, c.want)
		}
	}
}

func TestBadNames(t *testing.T) {
	f := floorplan(t, 1)
	m, err := NewBlock(DefaultConfig(), f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range f.Blocks {
		names = append(names, b.Name)
	}
	for want, list := range map[string][]string{
		`power for "GPU", but the floorplan has no such block`: append([]string{"GPU"}, names...),
		`block "ITB_1" has no power in the trace`:              names[:len(names)-1],
		`names "L2" twice`: append([]string{"L2"}, names...),
	} {
		if _, err := m.Place(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %q", err, want)
		}
	}
}

func TestUnitSlip(t *testing.T) {
	f, err := ReadFloorplan(strings.NewReader("a 8 8 0 0\nb 8 8 8 0"))
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], "are its lengths in millimetres?") {
		t.Errorf("%q", w)
	}
	if _, err := NewBlock(DefaultConfig(), f); err == nil || !strings.Contains(err.Error(), "larger than its spreader of 0.03 m: are its lengths in millimetres?") {
		t.Errorf("%v", err)
	}
	c := DefaultConfig() // the package as well: nothing contradicts it
	c.Chip.Thickness, c.Spreader.Side, c.Spreader.Thickness, c.Sink.Side, c.Sink.Thickness = 0.15, 30, 1, 60, 6.9
	m, err := NewBlock(c, f)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(m.Warnings, "\n"); len(m.Warnings) != 6 || !strings.Contains(text, "s_sink is 60 m: is that in millimetres?") {
		t.Errorf("%s", text)
	}
}

// A block far from the others is taken, as HotSpot does, but not silently.
func TestBlockOutOfPlace(t *testing.T) {
	f, err := ReadFloorplan(strings.NewReader("a 0.004 0.004 0 0\nb 0.004 0.004 0.02 0.02"))
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) != 1 || !strings.Contains(w[0], "cover 5.56 % of the 0.024 × 0.024 m") {
		t.Errorf("%q", w)
	}
	if w := floorplan(t, 1).Warnings(); w != nil {
		t.Errorf("HotSpot's own: %q", w)
	}
}

// A package that gives off no heat has no steady state.
func TestSingular(t *testing.T) {
	c := DefaultConfig()
	c.Resistance = 1e300
	m, err := NewBlock(c, floorplan(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Steady(make([]float64, len(m.capacity))); err == nil || !strings.Contains(err.Error(), "singular") {
		t.Errorf("%v", err)
	}
}

// A die smaller than the one beneath it, on a grid that is no power of two.
func TestUnequalDies(t *testing.T) {
	read := func(text string) *Floorplan {
		f, err := ReadFloorplan(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	silicon := Material{130, 1.63e6}
	layers := []Layer{
		{Lateral: true, Power: true, Material: silicon, Thickness: 1.5e-4, Floorplan: read("small 0.005 0.004 0 0")},
		{Lateral: true, Material: Material{4, 4e6}, Thickness: 2e-5, Floorplan: read("glue 0.01 0.01 0 0")},
		{Lateral: true, Power: true, Material: silicon, Thickness: 1.5e-4, Floorplan: read("large 0.01 0.01 0 0")},
		{Lateral: true, Material: Material{4, 4e6}, Thickness: 2e-5, Floorplan: read("tim 0.01 0.01 0 0")},
	}
	c := DefaultConfig()
	c.Rows, c.Cols, c.Mapping = 21, 35, "avg"
	m, err := NewGrid(c, layers, true)
	if err != nil {
		t.Fatal(err)
	}
	place, err := m.Place([]string{"small", "large"})
	if err != nil {
		t.Fatal(err)
	}
	power := place([]float64{3, 5})
	kelvin, err := m.Steady(power)
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Balance(kelvin, power); math.Abs(b) > 1e-9 {
		t.Errorf("balance %v", b)
	}
	if peak, where := m.Peak(kelvin); where != "layer_0_small" || !(peak > c.Ambient && peak < 400) {
		t.Errorf("peak %v in %s", peak, where)
	}
	if _, err := NewGrid(c, layers, false); err == nil || !strings.Contains(err.Error(), "spans") {
		t.Errorf("without the detailed option: %v", err)
	}
}

// The sparse factorisation against a dense one, on random networks.
func TestFactorise(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 1 + random.IntN(40)
		diagonal, order := make([]float64, n), random.Perm(n)
		dense := mat.NewDense(n, n, nil)
		var edges []edge
		for i := range n {
			diagonal[i] = random.Float64() * float64(random.IntN(2))
			dense.Set(i, i, diagonal[i])
		}
		diagonal[0]++
		dense.Set(0, 0, dense.At(0, 0)+1)
		for i := 1; i < n; i++ {
			for range 1 + random.IntN(3) {
				j, g := random.IntN(i), 0.1+random.Float64()
				edges = append(edges, edge{int32(i), int32(j), g})
				dense.Set(i, j, dense.At(i, j)-g)
				dense.Set(j, i, dense.At(j, i)-g)
				dense.Set(i, i, dense.At(i, i)+g)
				dense.Set(j, j, dense.At(j, j)+g)
			}
		}
		permutation := make([]int32, n)
		for i, p := range order {
			permutation[i] = int32(p)
		}
		f, err := factorise(diagonal, edges, permutation)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]float64, n)
		for i := range b {
			b[i] = random.NormFloat64()
		}
		var want mat.VecDense
		if err := want.SolveVec(dense, mat.NewVecDense(n, append([]float64{}, b...))); err != nil {
			t.Fatal(err)
		}
		f.solve(b, make([]float64, n))
		for i := range b {
			if math.Abs(b[i]-want.AtVec(i)) > 1e-9*(1+math.Abs(b[i])) {
				t.Fatalf("%d nodes: %v, expected %v", n, b[i], want.AtVec(i))
			}
		}
	}
	if _, err := factorise([]float64{0, 0}, []edge{{0, 1, 1}}, []int32{0, 1}); err == nil || !strings.Contains(err.Error(), "singular") {
		t.Errorf("an isolated network gave %v", err)
	}
}

func TestTiles(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                        "at least one tile",
		`[{"width": 1}]`:            "positive width and height, got 1 and 0 m",
		`[{"width": 1, "high": 1}]`: "unknown field",
		`[{"width": 1, "height": 1, "resistance_ohm": -1}]`:                          "resistance_ohm: expected a positive number",
		`[{"width": 1, "height": 1}, {"x": 0.5, "width": 1, "height": 1, "row": 1}]`: "tiles 0 and 1 overlap",
	} {
		if _, err := ReadTiles(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", text, err, want)
		}
	}
}

func fuzz(f *testing.F, names []string, read func(io.Reader) error) {
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:min(len(text), 4096)])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := read(strings.NewReader(string(text))); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

func FuzzFloorplan(f *testing.F) {
	fuzz(f, []string{"example1/ev6.flp", "example3/floorplan1.flp"}, func(r io.Reader) error {
		p, err := ReadFloorplan(r)
		if err == nil {
			if w, h := p.Size(); !(w > 0 && h > 0) {
				return fmt.Errorf("size %v × %v", w, h)
			}
		}
		return err
	})
}

func FuzzTrace(f *testing.F) {
	fuzz(f, []string{"example1/gcc.ptrace"}, func(r io.Reader) error { _, err := ReadTrace(r); return err })
}

func FuzzConfig(f *testing.F) {
	fuzz(f, []string{"example1/example.config"}, func(r io.Reader) error { _, err := ReadConfig(r, nil); return err })
}

func FuzzMaterials(f *testing.F) {
	fuzz(f, []string{"example3/example.materials"}, func(r io.Reader) error { _, err := ReadMaterials(r); return err })
}

func FuzzLayers(f *testing.F) {
	fuzz(f, []string{"example3/example.lcf"}, func(r io.Reader) error {
		_, err := ReadLayers(r, nil, func(string) (*Floorplan, error) { return &Floorplan{}, nil })
		return err
	})
}

func FuzzTiles(f *testing.F) {
	f.Add([]byte(`[{"row": 0, "column": 0, "x": 0, "y": 0, "width": 0.001, "height": 0.001}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ReadTiles(strings.NewReader(string(text)))
		for _, tile := range list {
			if err == nil && !(tile.Resistance > 0 && tile.MaxCurrent > 0) {
				t.Errorf("%+v", tile)
			}
		}
	})
}
