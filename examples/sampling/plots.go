package main

import (
	"image/color"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/kelvin-ml/kelvin/thermo"
)

var (
	grey = color.RGBA{0x80, 0x80, 0x80, 0xff}
	hues = []color.RGBA{{0x1b, 0x9e, 0x77, 0xff}, {0xd9, 0x5f, 0x02, 0xff}, {0x75, 0x70, 0xb3, 0xff}, {0xe7, 0x29, 0x8a, 0xff}}
)

// A point is a reading at a place of the horizontal axis.
type point struct {
	x float64
	y thermo.Reading
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Add(plotter.NewGrid())
	return p
}

// readings adds points with error bars of two standard errors.
func readings(p *plot.Plot, name string, hue color.Color, points []point) error {
	data := struct {
		plotter.XYs
		plotter.YErrors
	}{make(plotter.XYs, len(points)), make(plotter.YErrors, len(points))}
	for i, at := range points {
		data.XYs[i] = plotter.XY{X: at.x, Y: at.y.Value}
		data.YErrors[i].Low, data.YErrors[i].High = 2*at.y.StdErr, 2*at.y.StdErr
	}
	scatter, err := plotter.NewScatter(data)
	if err != nil {
		return err
	}
	scatter.GlyphStyle = draw.GlyphStyle{Color: hue, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
	bars, err := plotter.NewYErrorBars(data)
	if err != nil {
		return err
	}
	bars.Color = hue
	p.Add(scatter, bars)
	if name != "" {
		p.Legend.Add(name, scatter)
	}
	return nil
}

// joined adds a line through the points.
func joined(p *plot.Plot, name string, hue color.Color, points []point) error {
	xys := make(plotter.XYs, len(points))
	for i, at := range points {
		xys[i] = plotter.XY{X: at.x, Y: at.y.Value}
	}
	line, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	line.Color = hue
	p.Add(line)
	if name != "" {
		p.Legend.Add(name, line)
	}
	return nil
}

// traces adds dots for each chain, one for every twentieth draw.
func traces(p *plot.Plot, chains [][]float64) error {
	for i, chain := range chains {
		var xys plotter.XYs
		for t := 0; t < len(chain); t += 20 {
			xys = append(xys, plotter.XY{X: float64(t), Y: chain[t]})
		}
		dots, err := plotter.NewScatter(xys)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: hues[i%len(hues)], Radius: vg.Points(1.2), Shape: draw.CircleGlyph{}}
		p.Add(dots)
	}
	return nil
}

// logarithmic makes the horizontal axis one of decades.
func logarithmic(p *plot.Plot) {
	p.X.Scale = plot.LogScale{}
	var ticks plot.ConstantTicks
	for _, decade := range []float64{0.001, 0.01, 0.1, 1, 10} {
		for i := 1.0; i < 10; i++ {
			tick := plot.Tick{Value: i * decade}
			if i == 1 || i == 3 {
				tick.Label = strconv.FormatFloat(tick.Value, 'g', 3, 64)
			}
			ticks = append(ticks, tick)
		}
	}
	p.X.Tick.Marker = ticks
}

// save draws plots side by side.
func save(path string, plots ...*plot.Plot) error {
	wide := 5 * vg.Inch
	if len(plots) > 1 {
		wide = vg.Length(len(plots)) * 3.2 * vg.Inch
	}
	canvas := vgsvg.New(wide, 3*vg.Inch)
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Points(14), PadTop: vg.Points(4), PadRight: vg.Points(8)}
	for i, c := range plot.Align([][]*plot.Plot{plots}, tiles, draw.New(canvas))[0] {
		plots[i].Draw(c)
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
