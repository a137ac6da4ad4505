// Package report renders results: tables for the terminal, and pages, each one
// self-contained HTML file that needs neither a server nor the network.
//
// A page is a document, and the components that show it are those of the
// dashboard. They are written in web/ui and built into dist, which is embedded
// here, because the dashboard (package web) may import this package and not the
// other way round.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Page is one report.
type Page struct {
	Title    string           `json:"title"`
	Lead     string           `json:"lead,omitempty"`    // one paragraph under the title
	Facts    []Fact           `json:"facts,omitempty"`   // where the numbers come from: model, data, seed
	Figures  []Figure         `json:"figures,omitempty"` // the few numbers to remember
	Findings []thermo.Finding `json:"findings"`          // shown even when empty, unless nil
	Sections []Section        `json:"sections"`
}

// A Fact is a line of provenance.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// A Figure is a number to remember.
type Figure struct {
	Label string `json:"label"`
	Value string `json:"value"` // as thermo.FormatError gives it
	Unit  string `json:"unit,omitempty"`
	Note  string `json:"note,omitempty"`
}

// FigureOf returns the figure of a reading; a reading that is not valid says why.
func FigureOf(label string, r thermo.Reading) Figure {
	f := Figure{Label: label, Value: thermo.FormatError(r.Value, r.StdErr), Unit: r.Unit, Note: r.Invalid}
	if f.Unit == "1" { // a plain number
		f.Unit = ""
	}
	if math.IsNaN(r.Value) {
		f.Value, f.Unit = "–", ""
	}
	return f
}

// A Section is a chapter of the page: text, then charts, then a table. A finding
// links to the section that shows it, else to the first that has its group in a
// chart or a table, else to the first with a chart; and there to its group, where
// the section has that.
type Section struct {
	ID     string   `json:"id,omitempty"` // anchor
	Title  string   `json:"title"`
	Text   string   `json:"text,omitempty"`
	Shows  []string `json:"shows,omitempty"` // IDs of findings
	Charts []Chart  `json:"charts,omitempty"`
	Table  *Table   `json:"table,omitempty"`
}

// WriteFile writes the page to path, whole or not at all.
func (p Page) WriteFile(path string) error {
	data, err := json.Marshal(struct {
		Schema string `json:"schema"`
		Page   Page   `json:"page"`
	}{"kelvin/v1", p})
	if err != nil {
		return fmt.Errorf("writing report %s: %w", path, err)
	}
	plain, err := p.Plain()
	if err != nil {
		return fmt.Errorf("writing report %s: %w", path, err)
	}
	return WriteHTML(path, p.Title, data, plain)
}

// WriteHTML writes the pages to path with a document inside, whole or not at all:
// data, JSON, is what they show instead of asking a server, and plain, HTML, is what
// is read where scripts do not run.
func WriteHTML(path, title string, data []byte, plain string) error {
	text, err := HTML(title, data, plain)
	if err != nil {
		return fmt.Errorf("writing report %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	defer os.Remove(f.Name()) // fails after the rename
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing report %s: %w", path, err)
	}
	return nil
}

// HTML returns the pages with their script, their style and a document inside, as
// WriteHTML writes them.
func HTML(title string, data []byte, plain string) (string, error) {
	parts := map[string]string{}
	for _, name := range []string{"index.html", "kelvin.js", "kelvin.css"} {
		text, err := pages.ReadFile("dist/" + name)
		if err != nil {
			return "", err
		}
		parts[name] = string(text)
	}
	// Within a script only its end tag and what opens a comment need care;
	// json.Marshal has escaped <, > and & in the data.
	script := strings.NewReplacer("</script", `<\/script`, "<!--", `<\!--`).Replace(parts["kelvin.js"])
	page := parts["index.html"]
	for _, r := range []struct{ from, to string }{
		{`<link rel="stylesheet" crossorigin href="./kelvin.css">`, "<style>" + parts["kelvin.css"] + "</style>"},
		{`<script type="module" crossorigin src="./kelvin.js"></script>`, ""},
		{"<title>kelvin</title>", "<title>" + escape(title) + " · kelvin</title>"},
		{"</body>", "<noscript>" + plain + "</noscript>\n" + `<script type="application/json" id="kelvin-data">` + string(data) + "</script>\n<script type=\"module\">" + script + "</script>\n</body>"},
	} {
		if strings.Count(page, r.from) != 1 {
			return "", fmt.Errorf("the built page has no %s: build it anew", r.from)
		}
		page = strings.Replace(page, r.from, r.to, 1)
	}
	return page, nil
}
