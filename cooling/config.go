package cooling

import (
	"fmt"
	"io"
	"strconv"
)

// A Config describes the die and its package.
type Config struct {
	Chip       Slab    // the die; its side is the floorplan's
	Interface  Slab    // between die and spreader, as wide as the die
	Spreader   Slab    // square
	Sink       Slab    // square
	Resistance float64 // of convection from the whole sink, K/W
	Capacity   float64 // of convection, J/K
	Ambient    float64 // K
	Initial    float64 // K
	Interval   float64 // of the power trace, s
	Model      string  // "block" or "grid"
	Rows, Cols int     // of the grid
	Mapping    string  // of cells to blocks: "avg", "min", "max" or "center"
}

// A Slab is a plate of one material.
type Slab struct {
	Side, Thickness float64
	Material        Material
}

// DefaultConfig is HotSpot's.
func DefaultConfig() Config {
	copper := Material{400, 3.55e6}
	return Config{
		Chip:       Slab{Thickness: 0.15e-3, Material: Material{100, 1.75e6}},
		Interface:  Slab{Thickness: 20e-6, Material: Material{4, 4e6}},
		Spreader:   Slab{Side: 30e-3, Thickness: 1e-3, Material: copper},
		Sink:       Slab{Side: 60e-3, Thickness: 6.9e-3, Material: copper},
		Resistance: 0.1, Capacity: 140.4, Ambient: 318.15, Initial: 333.15, Interval: 3.333e-6,
		Model: "block", Rows: 64, Cols: 64, Mapping: "center",
	}
}

// mostCells bounds the rows and columns of a grid.
const mostCells = 4096

// ReadConfig reads a configuration (.config) over the defaults: a name, with a dash,
// and its value a line. Names that it does not know are left alone; what would
// change the model but is not here (a secondary path, a detailed package,
// microfluidic cooling, leakage) is an error when it is switched on.
func ReadConfig(r io.Reader, materials map[string]Material) (*Config, error) {
	c := DefaultConfig()
	numbers := map[string]*float64{
		"t_chip": &c.Chip.Thickness, "k_chip": &c.Chip.Material.Conductivity, "p_chip": &c.Chip.Material.Capacity,
		"t_interface": &c.Interface.Thickness, "k_interface": &c.Interface.Material.Conductivity, "p_interface": &c.Interface.Material.Capacity,
		"s_spreader": &c.Spreader.Side, "t_spreader": &c.Spreader.Thickness, "k_spreader": &c.Spreader.Material.Conductivity, "p_spreader": &c.Spreader.Material.Capacity,
		"s_sink": &c.Sink.Side, "t_sink": &c.Sink.Thickness, "k_sink": &c.Sink.Material.Conductivity, "p_sink": &c.Sink.Material.Capacity,
		"r_convec": &c.Resistance, "c_convec": &c.Capacity, "ambient": &c.Ambient, "init_temp": &c.Initial, "sampling_intvl": &c.Interval,
	}
	named := map[string]*Material{"material_chip": &c.Chip.Material, "material_interface": &c.Interface.Material,
		"material_spreader": &c.Spreader.Material, "material_sink": &c.Sink.Material}
	off := []string{"model_secondary", "package_model_used", "use_microfluidic_cooling", "leakage_used", "block_omit_lateral"}
	chosen := map[string]Material{}
	err := eachLine(r, func(_ int, words []string) error {
		if len(words) != 2 || words[0][0] != '-' {
			return fmt.Errorf("expected a name with a dash, and its value, got %d words", len(words))
		}
		name, value := words[0][1:], words[1]
		if to, ok := numbers[name]; ok {
			x, err := number(value)
			if err == nil && !(x > 0) {
				err = fmt.Errorf("expected a positive number, got %s", value)
			}
			if *to = x; err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		if _, ok := named[name]; ok {
			m, known := materials[value]
			if !known {
				return fmt.Errorf("%s: %q is not among the materials", name, value)
			}
			chosen[name] = m // whatever the order, a material overrides single numbers
			return nil
		}
		for _, s := range off {
			if name == s && value != "0" {
				return fmt.Errorf("%s %s: kelvin has no such model; set it to 0", name, value)
			}
		}
		switch name {
		case "grid_rows", "grid_cols":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > mostCells {
				return fmt.Errorf("%s: expected 1 to %d, got %q", name, mostCells, value)
			}
			if name == "grid_rows" {
				c.Rows = n
			} else {
				c.Cols = n
			}
		case "model_type":
			if c.Model = value; value != "block" && value != "grid" {
				return fmt.Errorf("model_type: expected block or grid, got %q", value)
			}
		case "grid_map_mode":
			if c.Mapping = value; value != "avg" && value != "min" && value != "max" && value != "center" {
				return fmt.Errorf("grid_map_mode: expected avg, min, max or center, got %q", value)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name, m := range chosen {
		*named[name] = m
	}
	return &c, nil
}

// Warnings says which lengths are odd for a chip's package: those that would be right in
// millimetres.
func (c Config) Warnings() []string {
	var list []string
	for _, l := range []struct {
		name        string
		value, most float64
	}{{"t_chip", c.Chip.Thickness, 0.01}, {"t_interface", c.Interface.Thickness, 0.01}, {"t_spreader", c.Spreader.Thickness, 0.05}, {"t_sink", c.Sink.Thickness, 0.2},
		{"s_spreader", c.Spreader.Side, 0.5}, {"s_sink", c.Sink.Side, 1}} {
		if l.value > l.most {
			list = append(list, fmt.Sprintf("%s is %g m: is that in millimetres? It is taken as metres", l.name, l.value))
		}
	}
	return list
}

// OpenConfig is ReadConfig of a file.
func OpenConfig(path string, materials map[string]Material) (*Config, error) {
	return open(path, func(r io.Reader) (*Config, error) { return ReadConfig(r, materials) })
}
