package main

import (
	"bytes"
	"fmt"
	"html/template"
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

// isingPage is one self-contained page: no scripts, nothing from elsewhere.
var isingPage = template.Must(template.New("ising").Funcs(template.FuncMap{
	"error": thermo.FormatError,
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The critical temperature, learned</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
figure { margin: 1rem 0; } svg { background: #fff; max-width: 100%; height: auto; } pre { white-space: pre-wrap; font: inherit; }
</style>
<h1>The critical temperature of the Ising model, learned</h1>
<p>Extrapolated to infinite size: T<sub>c</sub> = <b>{{error .Doc.Extrapolated.Value .Doc.Extrapolated.StdErr}}</b>; exact {{printf "%.6f" .Doc.Exact}}.
Seed {{.Doc.Seed}}, {{.Doc.Seeds}} networks a size, weight decay {{.Doc.Decay}}, gap {{.Doc.Gap}}.</p>
<table><tr><th>size<th>T<sub>c</sub><th>T<sub>c</sub>, two units<th>threshold m*<th>T where ⟨|m|⟩ = m*<th>weight cv<th>counting<th>symmetry<th>PCA cosine</tr>
{{range .Doc.Sizes}}<tr><td>{{.Size}}<td>{{error .Tc.Value .Tc.StdErr}}<td>{{error .TwoUnits.Tc.Value .TwoUnits.Tc.StdErr}}<td>{{printf "%.3f" .Threshold}}<td>{{printf "%.3f" .ThresholdTc}}<td>{{printf "%.2f" .WeightCV}}<td>{{printf "%.3f" .Counting}}<td>{{printf "%.2f" .TwoUnits.Symmetry}}<td>{{printf "%.4f" .PCA.Uniformity}}</tr>
{{end}}</table>
<figure>{{.Output}}<figcaption>Where the mean output crosses one half is the network's critical temperature. Bars: two standard errors over seeds.</figcaption></figure>
<figure>{{.Magnetisation}}<figcaption>The mean magnetisation of the same test configurations, and where it crosses the network's threshold m* (open circles).</figcaption></figure>
<h2>What the networks do</h2>
<pre>{{.Doc.Explanation}}</pre>
</html>
`))

// writeIsingReport writes the page.
func writeIsingReport(path string, doc isingLearnDocument) error {
	output, err := learningPlot("mean output, probability of ordered", doc.Sizes, func(l ising.Learned) ([]float64, []float64) {
		return l.Curve.Output, l.Curve.OutputErr
	}, nil)
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	magnetisation, err := learningPlot("mean |magnetisation| per spin", doc.Sizes, func(l ising.Learned) ([]float64, []float64) {
		return l.Curve.AbsM, make([]float64, len(l.Curve.AbsM))
	}, func(l ising.Learned) plotter.XY { return plotter.XY{X: l.ThresholdTc, Y: l.Threshold} })
	if err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	var page bytes.Buffer
	if err := isingPage.Execute(&page, struct {
		Doc                   isingLearnDocument
		Output, Magnetisation template.HTML
	}{doc, output, magnetisation}); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, page.Bytes(), 0o644)
}

var isingHues = []color.RGBA{{0x1b, 0x9e, 0x77, 0xff}, {0xd9, 0x5f, 0x02, 0xff}, {0x75, 0x70, 0xb3, 0xff}, {0xe7, 0x29, 0x8a, 0xff}, {0x1f, 0x5f, 0xa8, 0xff}}

// learningPlot draws one curve a size, with the exact critical temperature.
func learningPlot(y string, sizes []ising.Learned, pick func(ising.Learned) (values, stderrs []float64), mark func(ising.Learned) plotter.XY) (template.HTML, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "temperature T / J", y
	p.Add(plotter.NewGrid())
	for i, l := range sizes {
		hue := isingHues[i%len(isingHues)]
		values, stderrs := pick(l)
		data := struct {
			plotter.XYs
			plotter.YErrors
		}{make(plotter.XYs, len(values)), make(plotter.YErrors, len(values))}
		for k, v := range values {
			data.XYs[k] = plotter.XY{X: l.Curve.Temperature[k], Y: v}
			data.YErrors[k].Low, data.YErrors[k].High = 2*stderrs[k], 2*stderrs[k]
		}
		line, points, err := plotter.NewLinePoints(data.XYs)
		if err != nil {
			return "", err
		}
		bars, err := plotter.NewYErrorBars(data)
		if err != nil {
			return "", err
		}
		line.Color, points.Color, bars.Color = hue, hue, hue
		points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(1.5)
		p.Add(line, points, bars)
		p.Legend.Add(fmt.Sprintf("L = %d", l.Size), line)
		if mark == nil || !(mark(l).X > 0) {
			continue
		}
		at, err := plotter.NewScatter(plotter.XYs{mark(l)})
		if err != nil {
			return "", err
		}
		at.Color, at.Shape, at.Radius = hue, draw.RingGlyph{}, vg.Points(5)
		p.Add(at)
	}
	exact, err := plotter.NewLine(plotter.XYs{{X: ising.Tc, Y: 0}, {X: ising.Tc, Y: 1}})
	if err != nil {
		return "", err
	}
	exact.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(exact)
	p.Legend.Add("exact Tc", exact)
	p.Legend.Top = true
	canvas := vgsvg.New(7*vg.Inch, 4*vg.Inch)
	p.Draw(draw.New(canvas))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return "", err
	}
	text := svg.Bytes()
	// Inside a page the picture goes without its XML prologue.
	return template.HTML(text[bytes.Index(text, []byte("<svg")):]), nil
}
