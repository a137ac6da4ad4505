package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/run"
)

// export sends the page of a run as one file.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("run")
	leave, err := s.exports.enter(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	var page string
	err = s.open(id, func(v *view, item runItem, warning string) error {
		data, plain, err := snapshot(r.Context(), v, item, warning, "")
		if err == nil {
			page, err = report.HTML(id, data, plain)
		}
		return err
	})
	leave()
	if err != nil {
		refuse(w, err)
		return
	}
	name := path.Base(id)
	if name == "." {
		name = s.store.name()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + ".html"}))
	io.WriteString(w, page)
}

// WriteReport writes the page of the run in dir as one HTML file, which needs
// neither a server nor the network. Its title is dir, and it says the command that
// made it.
func WriteReport(ctx context.Context, dir, file, command string) error {
	summary, err := run.Summarise(dir)
	if err != nil {
		return err
	}
	index, warning, err := run.OpenIndex(dir)
	if err != nil {
		return err
	}
	defer index.Close()
	v, err := newView(index, dir, newMemory())
	if err != nil {
		return err
	}
	name := filepath.ToSlash(filepath.Clean(dir))
	if base := path.Base(name); base == "." || base == ".." {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		name = filepath.Base(absolute)
	}
	data, plain, err := snapshot(ctx, v, newItem(name, summary), warning, command)
	if err != nil {
		return fmt.Errorf("reporting %s: %w", dir, err)
	}
	return report.WriteHTML(file, name, data, plain)
}

// reported is the number of columns of the curves in a report.
const reported = 300

// snapshot returns the answers that the page of a run would ask a server for, and
// what is read where scripts do not run.
func snapshot(ctx context.Context, v *view, item runItem, warning, command string) (data []byte, plain string, err error) {
	documents := map[string]any{}
	ask := func(name string, body any, query ...string) {
		address := "api/" + name + "?run=" + escape(item.ID)
		for i := 0; i < len(query); i += 2 {
			address += "&" + query[i] + "=" + escape(query[i+1])
		}
		documents[address] = body
	}
	d, err := v.document(item, warning)
	if err != nil {
		return nil, "", err
	}
	ask("run", d)
	for _, q := range d.Quantities {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		if q.System {
			c, err := v.curve("", q.Name, math.MinInt64, math.MaxInt64, reported)
			if err != nil {
				return nil, "", err
			}
			ask("series", seriesDocument{schema, *c}, "name", q.Name)
		}
		if len(q.Layers) == 0 {
			continue
		}
		l, err := v.layersOf(q.Name, Window{math.MinInt64, math.MaxInt64, reported})
		if err != nil {
			return nil, "", err
		}
		ask("layers", l, "name", q.Name)
		switch q.Name {
		case "energy_in", "energy_out", "dead", "saturated":
			if l, err = v.layersOf(q.Name, Window{math.MinInt64, math.MaxInt64, 20}); err != nil {
				return nil, "", err
			}
			ask("layers", l, "name", q.Name, "columns", "20")
		}
	}
	found, err := findTransitions(ctx, v.dir)
	if err != nil {
		return nil, "", err
	}
	ask("transitions", found)
	if v.has("", "power") {
		if found, err = findSpending(ctx, v.dir); err != nil {
			return nil, "", err
		}
		ask("spending", found)
	}
	if len(d.Checkpoints) > 0 {
		last, err := checkpointOf(v.dir, -1)
		if err != nil {
			return nil, "", err
		}
		if found, err = measureSpectra(ctx, last); err != nil {
			return nil, "", err
		}
		ask("spectra", found, "step", fmt.Sprint(last.Step))
	}
	if data, err = json.Marshal(map[string]any{"run": item.ID, "command": command, "documents": documents}); err != nil {
		return nil, "", err
	}
	plain, err = d.plain(command)
	return data, plain, err
}

// plain is the run in words.
func (d runDocument) plain(command string) (string, error) {
	page := report.Page{Title: d.Run.ID, Lead: fmt.Sprintf("A run of kelvin, %s at step %d.", d.Run.State, d.Run.Step)}
	if command != "" {
		page.Facts = []report.Fact{{Label: "command", Value: command}}
	}
	if d.Run.Loss != nil {
		page.Figures = []report.Figure{{Label: "last energy", Value: fmt.Sprintf("%.4g", *d.Run.Loss)}}
	}
	for _, f := range d.Findings {
		page.Findings = append(page.Findings, f.Finding)
	}
	return page.Plain()
}

// escape is JavaScript's encodeURIComponent.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(url.QueryEscape(s))
}
