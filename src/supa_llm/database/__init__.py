"""Every RPC once, as a value, one noun a file; ``transport`` sends them."""
