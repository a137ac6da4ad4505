// Package report renders results as one self-contained HTML page: no scripts,
// nothing from elsewhere, readable in light and dark, on paper and on a phone.
package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Page is one report.
type Page struct {
	Title    string
	Lead     string           // one paragraph under the title
	Facts    []Fact           // where the numbers come from: model, data, seed
	Figures  []Figure         // the few numbers to remember
	Findings []thermo.Finding // shown even when empty, unless nil
	Sections []Section
}

// A Fact is a line of provenance.
type Fact struct{ Label, Value string }

// A Figure is a number to remember.
type Figure struct {
	Label string
	Value string // as thermo.FormatError gives it
	Unit  string
	Note  string
}

// FigureOf returns the figure of a reading; a reading that is not valid says why.
func FigureOf(label string, r thermo.Reading) Figure {
	f := Figure{Label: label, Value: thermo.FormatError(r.Value, r.StdErr), Unit: r.Unit, Note: r.Invalid}
	if f.Unit == "1" { // a plain number
		f.Unit = ""
	}
	return f
}

// A Section is a chapter of the page: text, then charts, then a table.
type Section struct {
	ID     string // anchor
	Title  string
	Text   string
	Charts []template.HTML // as Bars and Lines draw them
	Table  *Table
}

//go:embed theme.css
var theme string

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"scaleStops": scaleStops,
	"theme":      func() template.CSS { return template.CSS(theme) },
	"checked":    func(f []thermo.Finding) bool { return f != nil },
}).Parse(pageText))

// Anchors are the places of the layers in the page: for the group of a finding,
// the first row of that name in a section with an ID.
func (p Page) Anchors() map[string]string {
	anchors := map[string]string{}
	for _, s := range p.Sections {
		if s.ID == "" || s.Table == nil {
			continue
		}
		for i, row := range s.Table.Rows {
			if len(row) > 0 && anchors[row[0]] == "" {
				anchors[row[0]] = fmt.Sprintf("%s-%d", s.ID, i)
			}
		}
	}
	return anchors
}

// WriteFile writes the page to path, whole or not at all.
func (p Page) WriteFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	defer os.Remove(f.Name()) // fails after the rename
	err = page.Execute(f, p)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing report %s: %w", path, err)
	}
	return nil
}

// scaleStops are the stops of the stripe that every page carries.
func scaleStops() []template.CSS {
	const stops = 9
	list := make([]template.CSS, stops)
	for i := range list {
		list[i] = template.CSS(Scale(float64(i) / (stops - 1)))
	}
	return list
}
