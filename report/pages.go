package report

import (
	"embed"
	"html/template"
	"io/fs"
	"strings"
)

// The pages, as `npm run build` makes them in web/ui.
//
//go:embed dist
var pages embed.FS

// Files are the pages as a server offers them: index.html, kelvin.js, kelvin.css.
func Files() fs.FS {
	files, err := fs.Sub(pages, "dist")
	if err != nil {
		panic(err) // the name is valid
	}
	return files
}

func escape(s string) string { return template.HTMLEscapeString(s) }

// plainText is what is read of a page where scripts do not run.
var plainText = template.Must(template.New("plain").Parse(`<main>
<h1>{{.Title}}</h1>
{{with .Lead}}<p>{{.}}</p>{{end}}
{{range .Facts}}<p>{{.Label}}: {{.Value}}</p>{{end}}
{{range .Figures}}<p>{{.Label}}: <b>{{.Value}}</b> {{.Unit}} {{.Note}}</p>{{end}}
{{if .Findings}}<h2>Findings</h2>{{end}}{{range .Findings}}<p>{{.Severity}}: {{with .Group}}{{.}}: {{end}}{{.What}}. {{.Evidence}}. {{.Change}}.</p>{{end}}
{{range .Sections}}<h2>{{.Title}}</h2>
{{with .Text}}<p>{{.}}</p>{{end}}
{{with .Table}}<table><thead><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr></thead><tbody>{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>{{end}}</tbody></table>{{end}}
{{end}}<p>The charts of this page need JavaScript.</p>
</main>`))

// Plain returns the page without its charts, as HTML: what is read where scripts do
// not run.
func (p Page) Plain() (string, error) {
	var b strings.Builder
	err := plainText.Execute(&b, p)
	return b.String(), err
}
