package main

import (
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/thermo"
)

var (
	blue  = color.RGBA{0x1f, 0x5f, 0xa8, 0xff}
	grey  = color.RGBA{0x80, 0x80, 0x80, 0xff}
	hues  = []color.RGBA{{0x1b, 0x9e, 0x77, 0xff}, {0xd9, 0x5f, 0x02, 0xff}, {0x75, 0x70, 0xb3, 0xff}, {0xe7, 0x29, 0x8a, 0xff}, {0x66, 0xa6, 0x1e, 0xff}, blue}
	width = 4 * vg.Inch
)

func newPlot(title, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "temperature T / J", y
	p.Add(plotter.NewGrid())
	return p
}

// readings adds points with error bars of two standard errors.
func readings(p *plot.Plot, name string, hue color.Color, points []ising.Point, pick func(ising.Point) thermo.Reading) error {
	data := struct {
		plotter.XYs
		plotter.YErrors
	}{make(plotter.XYs, len(points)), make(plotter.YErrors, len(points))}
	for i, point := range points {
		r := pick(point)
		data.XYs[i].X, data.XYs[i].Y = point.Temperature, r.Value
		data.YErrors[i].Low, data.YErrors[i].High = 2*r.StdErr, 2*r.StdErr
	}
	scatter, err := plotter.NewScatter(data)
	if err != nil {
		return err
	}
	scatter.GlyphStyle = draw.GlyphStyle{Color: hue, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
	bars, err := plotter.NewYErrorBars(data)
	if err != nil {
		return err
	}
	bars.Color = hue
	p.Add(scatter, bars)
	p.Legend.Add(name, scatter)
	return nil
}

// exact adds a curve.
func exact(p *plot.Plot, name string, f func(float64) float64) {
	curve := plotter.NewFunction(f)
	curve.Color, curve.Samples = grey, 400
	p.Add(curve)
	p.Legend.Add(name, curve)
}

// save draws plots side by side, row by row.
func save(path string, columns int, plots ...*plot.Plot) error {
	rows := (len(plots) + columns - 1) / columns
	height := vg.Length(rows) * 3 * vg.Inch
	canvas := vgsvg.New(width*vg.Length(columns), height)
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = plots[i*columns : (i+1)*columns]
	}
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: vg.Points(12), PadY: vg.Points(8), PadTop: vg.Points(4), PadRight: vg.Points(8)}
	for i, row := range plot.Align(grid, tiles, draw.New(canvas)) {
		for k, c := range row {
			grid[i][k].Draw(c)
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

func drawCurves(path string, size int, points []ising.Point) error {
	torus := fmt.Sprintf("exact, L = %d", size)
	simulated := fmt.Sprintf("simulated, L = %d", size)
	panels := []struct {
		title, y, exact string
		top             float64
		f               func(float64) float64
		pick            func(ising.Point) thermo.Reading
	}{
		{"Energy", "energy per spin", torus, -0.7, func(t float64) float64 { e, _ := ising.Torus(size, t); return e }, func(p ising.Point) thermo.Reading { return p.Energy }},
		{"Specific heat", "specific heat per spin", torus, 2.6, func(t float64) float64 { _, c := ising.Torus(size, t); return c }, func(p ising.Point) thermo.Reading { return p.SpecificHeat }},
		{"Magnetisation", "|magnetisation| per spin", "exact, infinite", 1.05, ising.Magnetisation, func(p ising.Point) thermo.Reading { return p.AbsMagnetisation }},
		{"Susceptibility", "susceptibility per spin", "", 80, nil, func(p ising.Point) thermo.Reading { return p.Susceptibility }},
	}
	var plots []*plot.Plot
	for _, panel := range panels {
		p := newPlot(panel.title, panel.y)
		if panel.f != nil {
			exact(p, panel.exact, panel.f)
		}
		if err := readings(p, simulated, blue, points, panel.pick); err != nil {
			return err
		}
		p.X.Min, p.X.Max, p.Y.Max = 1.45, 3.05, panel.top
		p.Legend.Left, p.Legend.Top = true, panel.title != "Magnetisation"
		plots = append(plots, p)
	}
	return save(path, 2, plots...)
}

func drawThermometer(path string, points []ising.Point) error {
	p := newPlot("One configuration of 256×256 spins", "temperature read from it")
	exact(p, "true", func(t float64) float64 { return t })
	if err := readings(p, "measured, ± 2 standard errors", blue, points, func(p ising.Point) thermo.Reading { return p.MeasuredTemperature }); err != nil {
		return err
	}
	p.Legend.Left, p.Legend.Top = true, true
	return save(path, 1, p)
}

func drawBinder(path string, data []ising.Sized) error {
	p := newPlot("Binder cumulants cross at the critical temperature", "1 − <m⁴> / 3<m²>²")
	for i, d := range data {
		if err := readings(p, fmt.Sprintf("L = %d", d.Size), hues[i%len(hues)], d.Points, func(p ising.Point) thermo.Reading { return p.Binder }); err != nil {
			return err
		}
	}
	p.Legend.Left = true
	return save(path, 1, p)
}
