"""Every RPC once, as a value, one file per noun; ``transport`` sends them."""
