package main

import (
	"fmt"
	"html/template"
	"math"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// writeSpectrumPage writes the report of one or two checkpoints.
func writeSpectrumPage(path string, docs []spectrumDocument) error {
	page := report.Page{
		Title: "Weight spectra",
		Lead:  "The singular values of every weight matrix, beside those of a random matrix. What lies beyond the random bulk was learned.",
	}
	for _, d := range docs {
		page.Facts = append(page.Facts, report.Fact{Label: "checkpoint", Value: fmt.Sprintf("%s (%s)", d.Checkpoint, d.Format)})
		if d.Summary.Alpha != nil {
			alpha := report.FigureOf("mean alpha of "+d.Checkpoint, *d.Summary.Alpha)
			alpha.Unit = ""
			page.Figures = append(page.Figures, alpha)
		}
		page.Sections = append(page.Sections, d.section(), d.charts())
	}
	page.Facts = append(page.Facts, report.Fact{Label: "seed", Value: fmt.Sprint(docs[0].Seed)})
	return page.WriteFile(path)
}

// section has the table of a checkpoint.
func (d spectrumDocument) section() report.Section {
	s := report.Section{
		Title: d.Checkpoint,
		Text:  fmt.Sprintf("%d matrices: %d with a power-law tail, %d like random matrices.", d.Summary.Matrices, d.Summary.PowerLaws, d.Summary.Random),
		Table: &report.Table{
			Columns: []string{"matrix", "shape", "‖W‖F", "σ max", "stable rank", "entropy / nat", "outliers", "alpha", "p", ""},
			Words:   map[int]bool{9: true},
		},
	}
	if d.Interrupted {
		s.Text += " Interrupted: some matrices are missing."
	}
	for _, m := range d.Matrices {
		alpha := "-"
		if m.Tail > 0 {
			alpha = thermo.FormatError(m.Alpha.Value, m.Alpha.StdErr)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			m.label(), shapeText(m.Shape), fmt.Sprintf("%.4g", m.FrobeniusNorm), readingText(m.Spectrum.SpectralNorm),
			readingText(m.Spectrum.StableRank), readingText(m.Spectrum.Entropy), fmt.Sprint(m.Outliers), alpha, m.pText(), m.Alpha.Invalid,
		})
	}
	return s
}

// charts has a picture of every matrix that is not zero.
func (d spectrumDocument) charts() report.Section {
	s := report.Section{
		Title: "Eigenvalues of " + d.Checkpoint,
		Text:  "The share of the eigenvalues of WᵀW above λ. A power law is a straight line; a random matrix with the same bulk ends at its edge.",
	}
	for _, m := range d.Matrices {
		if m.SpectralNorm > 0 {
			s.Charts = append(s.Charts, m.chart())
		}
	}
	return s
}

// chart draws the share of eigenvalues above λ on logarithmic axes, where a
// power law is a straight line.
func (m spectrumMatrix) chart() template.HTML {
	x := m.Spectrum.Eigenvalues
	n := len(x)
	top := x[n-1]
	low := max(x[0], top*1e-5) // what lies below would take the room of the tail
	c := report.LineChart{
		Caption: m.label(),
		X:       "log₁₀ λ", Y: "share above λ", LogY: true,
	}
	matrix := report.Line{Name: "this matrix", Hotness: 1}
	for i, v := range x {
		// Of a large matrix, the tail is drawn whole and the bulk thinned out.
		if v >= low && (n-i <= 200 || i%(1+n/400) == 0) {
			matrix.X, matrix.Y = append(matrix.X, math.Log10(v)), append(matrix.Y, float64(n-i)/float64(n))
		}
	}
	random := report.Line{Name: "random matrix", Hotness: 0}
	law := m.Spectrum.RandomLaw()
	const points = 200
	for i := range points {
		v := low * math.Pow(top/low, float64(i)/(points-1))
		if share := 1 - law(v); share > 0.5/float64(n) {
			random.X, random.Y = append(random.X, math.Log10(v)), append(random.Y, share)
		}
	}
	c.Lines = []report.Line{matrix, random}
	if m.Alpha.Valid() {
		xmin, share := *m.Xmin, float64(m.Tail)/float64(n)
		c.Lines = append(c.Lines, report.Line{
			Name: "power law", Hotness: 0.5,
			X: []float64{math.Log10(xmin), math.Log10(top)},
			Y: []float64{share, share * math.Pow(top/xmin, 1-m.Alpha.Value)},
		})
	}
	return c.Plot()
}
