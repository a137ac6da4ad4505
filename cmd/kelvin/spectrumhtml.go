package main

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"
)

// spectrumPage is one self-contained page: no scripts, nothing from elsewhere.
var spectrumPage = template.Must(template.New("spectrum").Funcs(template.FuncMap{
	"pvalue": spectrumMatrix.pText, "short": readingText, "shape": shapeText, "tail": tailPlot, "label": spectrumMatrix.label,
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Weight spectra of {{range $i, $d := .}}{{if $i}}, {{end}}{{$d.Checkpoint}}{{end}}</title>
<style>
:root { color-scheme: light dark; --data: light-dark(#1f5fa8, #7ab8f5); --law: light-dark(#777, #aaa); --tail: light-dark(#c2410c, #fb923c); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8886; }
th:first-child, td:first-child, td:last-child, th:last-child { text-align: left; }
td:last-child { white-space: normal; min-width: 14rem; }
.wide { overflow-x: auto; } .plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; overflow-wrap: anywhere; } svg { width: 100%; height: auto; } svg text { font-size: 10px; fill: currentColor; }
.axis { stroke: currentColor; fill: none; } .grid { stroke: #8884; } .data { stroke: var(--data); fill: none; stroke-width: 2; }
.law { stroke: var(--law); fill: none; stroke-dasharray: 5 3; } .tail { stroke: var(--tail); fill: none; stroke-width: 1.5; }
.key { font-weight: bold; } .key.d { color: var(--data); } .key.l { color: var(--law); } .key.t { color: var(--tail); }
</style>
<h1>Weight spectra</h1>
{{range .}}<h2>{{.Checkpoint}}</h2>
<p>{{.Summary.Matrices}} matrices: {{.Summary.PowerLaws}} with a power-law tail, {{.Summary.Random}} like random matrices{{with .Summary.Alpha}}, mean alpha {{.}}{{end}}. Seed {{.Seed}}.
{{if .Interrupted}}<b>Interrupted: some matrices are missing.</b>{{end}}</p>
<div class="wide"><table><tr><th>matrix<th>shape<th>‖W‖<sub>F</sub><th>σ max<th>stable rank<th>entropy / nat<th>outliers<th>alpha<th>p<th></tr>
{{range .Matrices}}<tr><td>{{label .}}<td>{{shape .Shape}}<td>{{printf "%.4g" .FrobeniusNorm}}<td>{{short .Spectrum.SpectralNorm}}<td>{{short .Spectrum.StableRank}}<td>{{short .Spectrum.Entropy}}<td>{{.Outliers}}<td>{{if .Tail}}{{short .Alpha}}{{else}}-{{end}}<td>{{pvalue .}}<td>{{.Alpha.Invalid}}</tr>
{{end}}</table></div>
<h3>Eigenvalues of WᵀW</h3>
<p>The share of eigenvalues above λ: <span class="key d">the matrix</span>, <span class="key l">a random matrix with the same bulk</span>, <span class="key t">the power law of the tail</span>.</p>
<div class="plots">{{range .Matrices}}<figure>{{tail .}}<figcaption>{{label .}}</figcaption></figure>
{{end}}</div>
{{end}}</html>
`))

// writeSpectrumPage writes the report of one or two checkpoints.
func writeSpectrumPage(path string, docs []spectrumDocument) error {
	var page bytes.Buffer
	if err := spectrumPage.Execute(&page, docs); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, page.Bytes(), 0o644)
}

// A logFrame maps positive numbers to a picture with logarithmic axes.
type logFrame struct{ xLow, xHigh, yLow float64 } // decades; y ends at 1

const (
	frameLeft, frameTop     = 38.0, 8.0
	frameWidth, frameHeight = 300.0, 190.0
)

func (f logFrame) at(x, y float64) (px, py float64) {
	px = frameLeft + frameWidth*(math.Log10(x)-f.xLow)/(f.xHigh-f.xLow)
	py = frameTop + frameHeight*math.Log10(y)/f.yLow
	return px, py
}

// tailPlot draws the share of eigenvalues above λ, as inline SVG.
func tailPlot(m spectrumMatrix) template.HTML {
	x := m.Spectrum.Eigenvalues
	n := len(x)
	top := x[n-1]
	low := top * 1e-6 // what lies below would take the room of the tail
	first := 0
	for x[first] < low {
		first++
	}
	f := logFrame{math.Log10(x[first]) - 0.05, math.Log10(top) + 0.1, -math.Log10(float64(n)) - 0.15}
	if f.xHigh-f.xLow < 0.5 {
		f.xLow = f.xHigh - 0.5
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="eigenvalues of %s">`, frameLeft+frameWidth+8, frameTop+frameHeight+30, template.HTMLEscapeString(m.label()))
	f.axes(&b)
	f.curve(&b, "data", x[first:], func(i int) float64 { return float64(n-first-i) / float64(n) })
	law := m.Spectrum.RandomLaw()
	grid := make([]float64, 200)
	for i := range grid {
		grid[i] = math.Pow(10, f.xLow+(f.xHigh-f.xLow)*float64(i)/float64(len(grid)-1))
	}
	f.curve(&b, "law", grid, func(i int) float64 { return 1 - law(grid[i]) })
	if m.Alpha.Valid() {
		xmin, share := *m.Xmin, float64(m.Tail)/float64(n)
		f.curve(&b, "tail", []float64{xmin, top}, func(i int) float64 {
			return share * math.Pow([]float64{xmin, top}[i]/xmin, 1-m.Alpha.Value)
		})
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// axes draws the frame, a line at every decade, and labels.
func (f logFrame) axes(b *strings.Builder) {
	bottom := frameTop + frameHeight
	marks := []float64{1}
	if f.xHigh-f.xLow < 2 { // too few decades to read a value from
		marks = []float64{1, 2, 5}
	}
	for d := math.Floor(f.xLow); d <= f.xHigh; d++ {
		for _, k := range marks {
			v := k * math.Pow(10, d)
			if px, _ := f.at(v, 1); px >= frameLeft && px <= frameLeft+frameWidth {
				fmt.Fprintf(b, `<path class="grid" d="M%.1f %gV%g"/><text x="%.1f" y="%g" text-anchor="middle">%.3g</text>`, px, frameTop, bottom, px, bottom+13, v)
			}
		}
	}
	for d := 0.0; d >= f.yLow; d-- {
		_, py := f.at(1, math.Pow(10, d))
		fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/><text x="%g" y="%.1f" text-anchor="end">%.3g</text>`, frameLeft, py, frameLeft+frameWidth, frameLeft-4, py+3, math.Pow(10, d))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%g %gV%gH%g"/><text x="%g" y="%g" text-anchor="middle">λ</text>`, frameLeft, frameTop, bottom, frameLeft+frameWidth, frameLeft+frameWidth/2, bottom+26)
}

// curve draws y over x where both are inside the frame; points closer than
// half a unit of the picture are left out.
func (f logFrame) curve(b *strings.Builder, class string, x []float64, y func(i int) float64) {
	fmt.Fprintf(b, `<path class="%s" d="`, class)
	command := byte('M')
	lastX, lastY := math.Inf(-1), math.Inf(-1)
	for i, v := range x {
		share := y(i)
		if share <= 0 || math.Log10(share) < f.yLow || math.Log10(v) < f.xLow {
			continue
		}
		px, py := f.at(v, share)
		if i < len(x)-1 && math.Hypot(px-lastX, py-lastY) < 0.5 {
			continue
		}
		fmt.Fprintf(b, "%c%.1f %.1f", command, px, py)
		command, lastX, lastY = 'L', px, py
	}
	b.WriteString(`"/>`)
}
