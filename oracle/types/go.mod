module roadstead.dev/oracle/types

go 1.26
