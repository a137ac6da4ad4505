"""Writes the fixtures beside it with numpy; run by hand when they must change."""
import numpy as np

x = np.arange(24).reshape(4, 6)
for d in ["<f2", "<f4", "<f8", ">f4", ">f8", "|i1", "<i2", "<i4", "<i8", ">i4", "|u1", "<u2", "<u4", "<u8"]:
    np.save(f"x_{d[1:]}{'_big' if d[0] == '>' else ''}.npy", x.astype(d))
np.save("x_bool.npy", x % 3 == 0)
np.save("x_fortran.npy", np.asfortranarray(x.reshape(4, 2, 3).astype("f4")))
np.save("y.npy", np.array([0, 2, 1, 2]))
np.save("object.npy", np.array([1, "a", None, 2], dtype=object), allow_pickle=True)
np.savez_compressed("set.npz", x=x.astype("f4"), y=np.array([0, 2, 1, 2]))
np.savez("targets.npz", X=x.astype("f8"), Y=x[:, :2] / 7)
