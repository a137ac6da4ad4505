package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kelvin-ml/kelvin/run"
)

// export sends the page of a run as one file.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("run")
	var page bytes.Buffer
	err := s.open(id, func(v *view, item runItem, warning string) error {
		return writePage(r.Context(), &page, v, item, warning)
	})
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
	page.WriteTo(w)
}

// WriteReport writes the page of the run in dir as one HTML file, which needs
// neither a server nor the network.
func WriteReport(ctx context.Context, dir, file string) error {
	summary, err := run.Summarise(dir)
	if err != nil {
		return err
	}
	index, warning, err := run.OpenIndex(dir)
	if err != nil {
		return err
	}
	defer index.Close()
	v, err := newView(index, dir)
	if err != nil {
		return err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := writePage(ctx, &page, v, newItem(filepath.Base(absolute), summary), warning); err != nil {
		return fmt.Errorf("reporting %s: %w", dir, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	defer os.Remove(temporary.Name()) // fails after the rename
	_, err = page.WriteTo(temporary)
	if err == nil {
		err = temporary.Chmod(0o644)
	}
	if failed := temporary.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// reported is the number of columns of the curves in a report.
const reported = 300

// writePage writes the pages of the dashboard with the answers inside that they
// would ask a server for.
func writePage(ctx context.Context, w io.Writer, v *view, item runItem, warning string) error {
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
		return err
	}
	ask("run", d)
	for _, q := range d.Quantities {
		if err := ctx.Err(); err != nil {
			return err
		}
		if q.System {
			c, err := v.curve("", q.Name, math.MinInt64, math.MaxInt64, reported)
			if err != nil {
				return err
			}
			ask("series", seriesDocument{schema, *c}, "name", q.Name)
		}
		if len(q.Layers) == 0 {
			continue
		}
		l, err := v.layersOf(q.Name, Window{math.MinInt64, math.MaxInt64, reported})
		if err != nil {
			return err
		}
		ask("layers", l, "name", q.Name)
		switch q.Name {
		case "energy_in", "energy_out", "dead", "saturated":
			if l, err = v.layersOf(q.Name, Window{math.MinInt64, math.MaxInt64, 20}); err != nil {
				return err
			}
			ask("layers", l, "name", q.Name, "columns", "20")
		}
	}
	data, err := json.Marshal(map[string]any{"run": item.ID, "documents": documents}) // escapes < and >
	if err != nil {
		return err
	}
	return assemble(w, data)
}

// escape is JavaScript's encodeURIComponent.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(url.QueryEscape(s))
}

// assemble writes index.html with its script, its style and data inside.
func assemble(w io.Writer, data []byte) error {
	parts := map[string]string{}
	for _, name := range []string{"index.html", "kelvin.js", "kelvin.css"} {
		text, err := assets.ReadFile("dist/" + name)
		if err != nil {
			return err
		}
		parts[name] = string(text)
	}
	script := strings.ReplaceAll(parts["kelvin.js"], "</script", `<\/script`)
	page := parts["index.html"]
	for _, r := range []struct{ from, to string }{
		{`<link rel="stylesheet" crossorigin href="./kelvin.css">`, "<style>" + parts["kelvin.css"] + "</style>"},
		{`<script type="module" crossorigin src="./kelvin.js"></script>`, ""},
		{"</body>", `<script type="application/json" id="kelvin-data">` + string(data) + `</script><script type="module">` + script + "</script></body>"},
	} {
		if strings.Count(page, r.from) != 1 {
			return fmt.Errorf("the built page has no %s: build it anew", r.from)
		}
		page = strings.Replace(page, r.from, r.to, 1)
	}
	_, err := io.WriteString(w, page)
	return err
}
