package api

import (
	"strings"
	"testing"
)

func TestFileList(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{})
	if list := decode[FileList](c.ask("GET", path+"/files", nil).want(200)); list.Files == nil || len(list.Files) != 0 || !list.Whole {
		t.Errorf("%+v", list)
	}
	c.ask("PUT", path+"/files/d/b.txt", strings.NewReader("12")).want(204)
	c.run(path, "open('a','w').write('1')\nimport os; os.symlink('/etc/passwd','l')")
	list := decode[FileList](c.ask("GET", path+"/files", nil).want(200))
	if len(list.Files) != 2 || list.Files[0].Path != "a" || list.Files[1].Path != "d/b.txt" || list.Files[1].Size != 2 || list.Files[1].Modified.IsZero() {
		t.Errorf("%+v", list)
	}
}
