os.exit(1)
return {}
