package main

import (
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var hues = []color.NRGBA{{0xd9, 0x5f, 0x02, 0xff}, {0x7b, 0x32, 0x94, 0xff}, {0x80, 0x80, 0x80, 0xff}, {0x1f, 0x5f, 0xa8, 0xff}, {0x1b, 0x9e, 0x77, 0xff}} // as schemes has them

// drawEnergies draws the energy that enters each layer before training, means of
// the logarithm over the seeds with their 95 % intervals: a panel for each
// activation at its greatest depth.
func drawEnergies(path string, rows []row) error {
	var panels []*plot.Plot
	for _, activation := range activations {
		p := plot.New()
		p.X.Label.Text, p.Y.Label.Text = "layer", "log10 signal energy"
		p.Add(plotter.NewGrid())
		lines, deepest := 0, 0
		for _, r := range rows {
			if r.activation == activation {
				deepest = max(deepest, r.depth)
			}
		}
		for _, r := range rows {
			if r.activation == activation && r.depth == deepest {
				if err := addEnergies(p, r, hues[lines]); err != nil {
					return err
				}
				lines++
			}
		}
		if lines > 0 {
			p.Title.Text = fmt.Sprintf("%s, %d layers", activation, deepest)
			p.Y.Min, p.Y.Max = math.Min(p.Y.Min, -3), math.Max(p.Y.Max, 1)
			panels = append(panels, p)
		}
	}
	return save(path, append(panels, key()))
}

// key is a panel that says which line is which.
func key() *plot.Plot {
	p := plot.New()
	p.HideAxes()
	p.Legend.Top, p.Legend.Left, p.Legend.TextStyle.Font.Size = true, true, vg.Points(12)
	for i, name := range []string{"balanced", "balanced where the slope is 1", "PyTorch default", "recommended gain", "gain 1, for tanh and sin"} {
		line := &plotter.Line{LineStyle: draw.LineStyle{Color: hues[i], Width: vg.Points(1.5)}}
		p.Legend.Add(name, line)
	}
	return p
}

// addEnergies adds a line and its band.
func addEnergies(p *plot.Plot, r row, hue color.NRGBA) error {
	var middle, top, bottom plotter.XYs
	for layer := range r.runs[0].energies {
		q, x := r.energy(layer), float64(layer+1)
		if q.n < len(r.runs) {
			return fmt.Errorf("%s, %d layers, %s: the energy of layer %d is not finite and positive", r.activation, r.depth, r.scheme.name, layer+1)
		}
		middle = append(middle, plotter.XY{X: x, Y: q.mean})
		top = append(top, plotter.XY{X: x, Y: q.mean + q.half})
		bottom = append(plotter.XYs{{X: x, Y: q.mean - q.half}}, bottom...)
	}
	band, err := plotter.NewPolygon(append(top, bottom...))
	if err != nil {
		return err
	}
	band.LineStyle.Width = 0
	band.Color = color.NRGBA{hue.R, hue.G, hue.B, 0x40}
	line, err := plotter.NewLine(middle)
	if err != nil {
		return err
	}
	line.Color, line.Width = hue, vg.Points(1.5)
	p.Add(band, line)
	return nil
}

// save draws the panels two to a line.
func save(path string, panels []*plot.Plot) error {
	const columns, width, height = 2, 4 * vg.Inch, 2.6 * vg.Inch
	tiles := draw.Tiles{Rows: (len(panels) + columns - 1) / columns, Cols: columns,
		PadX: vg.Points(12), PadY: vg.Points(8), PadTop: vg.Points(4), PadRight: vg.Points(8)}
	canvas := vgsvg.New(columns*width, vg.Length(tiles.Rows)*height)
	grid := make([][]*plot.Plot, tiles.Rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
		copy(grid[i], panels[i*columns:]) // the last line may be short
	}
	for i, row := range plot.Align(grid, tiles, draw.New(canvas)) {
		for k, c := range row {
			if grid[i][k] != nil {
				grid[i][k].Draw(c)
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}
