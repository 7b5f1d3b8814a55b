module roadstead.dev/oracle/template

go 1.26
