"""x"""
def write(store, registry): return store.report
